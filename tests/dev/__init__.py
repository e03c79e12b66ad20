"""Tests of babygun/dev."""
