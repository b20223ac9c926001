"""Text: tokens, normalization and names of units."""
