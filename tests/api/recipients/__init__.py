"""Tests of babygun/api/recipients."""
