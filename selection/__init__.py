"""Which units to keep: strategies, their evidence, and how good their choices are."""
