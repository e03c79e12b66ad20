"""Tests of babygun/store/upkeep."""
