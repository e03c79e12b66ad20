"""Tests of babygun/api/live."""
