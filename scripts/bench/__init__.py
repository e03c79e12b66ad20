"""Benchmarks of Babygun, alone and beside other systems. See docs/performance.md."""
