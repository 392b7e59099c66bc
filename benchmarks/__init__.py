"""How fast anyback is beside other libraries: ``python -m benchmarks``."""
