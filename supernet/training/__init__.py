"""Training as data: phases, plans and steps, and their cost."""
