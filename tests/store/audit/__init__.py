"""Tests of babygun/store/audit."""
