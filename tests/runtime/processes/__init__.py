"""The supervisor of processes."""
