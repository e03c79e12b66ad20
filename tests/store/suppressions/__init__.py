"""Tests of babygun/store/suppressions."""
