"""Tests of babygun/store."""
