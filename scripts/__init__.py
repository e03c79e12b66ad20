"""What developers and operators run from a checkout."""
