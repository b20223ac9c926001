"""Recognition while someone speaks."""
