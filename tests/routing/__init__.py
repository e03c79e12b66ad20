"""Tests of babygun/routing."""
