"""The calls on sending domains: make, verify, share and delete them, and give them new keys."""
