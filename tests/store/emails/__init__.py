"""Tests of babygun/store/emails."""
