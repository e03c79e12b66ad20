"""The calls on suppressions: addresses that a client's mail does not go to."""
