"""Tests of babygun/store/access."""
