"""Tests of babygun/store/cluster."""
