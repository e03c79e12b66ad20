"""Finds the MTA-STS policies of recipient domains, and keeps them up to date (RFC 8461)."""
