"""Tests of babygun/store/tls_policies."""
