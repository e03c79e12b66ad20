"""The audit: who changed what, by the API or by the command line."""
