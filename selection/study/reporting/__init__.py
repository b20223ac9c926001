"""How the results of a study look."""
