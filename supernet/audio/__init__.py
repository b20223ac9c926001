"""Recordings and the features that a network reads."""
