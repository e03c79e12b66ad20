"""Tests of babygun/tls_policies."""
