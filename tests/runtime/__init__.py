"""Tests of how a process runs."""
