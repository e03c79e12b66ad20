"""Tests of babygun/api/emails."""
