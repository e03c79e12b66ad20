"""Tests of babygun/bounces."""
