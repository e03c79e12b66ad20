"""Tests of babygun/api/webhooks."""
