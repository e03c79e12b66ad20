"""Tests of babygun/api/openapi."""
