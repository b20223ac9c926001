"""Recordings, and the input features of a network."""
