"""How a selection is made: one file per strategy."""
