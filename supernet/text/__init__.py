"""Tokens and the spelling of texts."""
