"""What TLS reports are made of, and the reports themselves (RFC 8460)."""
