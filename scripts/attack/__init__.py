"""Bombs and floods against a running stack, with figures of what they do to other calls."""
