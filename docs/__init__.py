"""The documents: pages, and what writes those of the reference."""
