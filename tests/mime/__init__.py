"""Tests of babygun/mime."""
