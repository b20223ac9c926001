"""How a supernet is trained: one file per method."""
