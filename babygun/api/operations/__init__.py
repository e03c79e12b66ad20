"""The calls for operators: workers, overview, probes and metrics."""
