"""Selection of units: strategies, their evidence, and the comparison of their choices."""
