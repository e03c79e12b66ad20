"""Tests of babygun/store/erasure."""
