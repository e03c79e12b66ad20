"""Tests of babygun/smtp."""
