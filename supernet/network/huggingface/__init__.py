"""Encoder families whose layers are those of the library `transformers`."""
