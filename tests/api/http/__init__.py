"""Tests of babygun/api/http."""
