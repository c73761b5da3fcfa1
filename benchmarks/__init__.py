"""Benchmarks: speed as ratios within one run, and quality on the demo set."""
