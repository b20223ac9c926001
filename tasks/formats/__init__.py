"""Forms in which people keep corpora of their own: one file for each."""
