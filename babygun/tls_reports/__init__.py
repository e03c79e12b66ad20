"""Counts how connections used TLS, and reports it daily to the domains that ask (RFC 8460)."""
