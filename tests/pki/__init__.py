"""Tests of babygun/pki."""
