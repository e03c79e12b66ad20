"""Benchmarks: Babygun beside its peers, and Babygun as its work grows. See docs/performance.md."""
