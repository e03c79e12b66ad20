"""Tests of babygun/api/operations."""
