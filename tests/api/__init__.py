"""Tests of babygun/api."""
