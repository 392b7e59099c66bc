"""What anyback does when things go wrong: files altered, data spoiled, training that leaves the numbers."""
