"""Conversion of a corpus's own listing to a manifest folder."""
