"""What every call shares: its declaration, body, errors, log line and connection."""
