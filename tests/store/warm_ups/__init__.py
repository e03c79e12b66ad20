"""Tests of babygun/store/warm_ups."""
