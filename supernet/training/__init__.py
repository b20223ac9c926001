"""A training as data: phases, plans, steps, and what they cost."""
