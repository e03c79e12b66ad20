"""Tests of babygun/cli."""
