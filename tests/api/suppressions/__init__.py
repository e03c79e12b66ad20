"""Tests of babygun/api/suppressions."""
