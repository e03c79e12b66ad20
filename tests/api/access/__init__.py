"""Tests of babygun/api/access."""
