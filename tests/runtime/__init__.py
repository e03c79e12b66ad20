"""Tests of babygun/runtime."""
