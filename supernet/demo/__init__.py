"""A page on which the sizes of a run can be tried in a browser."""
