"""Tests of babygun/store/tls_reports."""
