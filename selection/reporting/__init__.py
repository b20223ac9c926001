"""Reports of a comparison: the console table, and a part of the run's page with pictures."""
