"""Sending domains: which clients hold them, and their sealed DKIM keys."""
