"""Tests of babygun/tls_reports."""
