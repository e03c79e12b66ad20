"""Tests of babygun/dns."""
