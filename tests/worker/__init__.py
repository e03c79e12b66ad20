"""Tests of babygun/worker."""
