"""Addresses that a client's mail does not go to: written, taken off, looked up, listed."""
