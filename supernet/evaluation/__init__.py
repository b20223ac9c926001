"""Trained sizes scored on a corpus."""
