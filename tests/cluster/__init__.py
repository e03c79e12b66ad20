"""Tests of a cluster in containers."""
