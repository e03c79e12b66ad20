"""Tests of babygun/store/changes."""
