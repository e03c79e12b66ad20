"""Tests of scripts/chaos."""
