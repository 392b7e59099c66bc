"""Benchmarks of anyback against other libraries: ``python -m benchmarks``."""
