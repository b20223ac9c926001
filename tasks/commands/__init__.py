"""Implementations of commands, which take seconds to import."""
