"""The MTA-STS policies of recipient domains, shared by all workers (RFC 8461, 5.1)."""
