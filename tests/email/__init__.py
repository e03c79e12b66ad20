"""Tests of babygun/email."""
