"""Evaluation of trained sizes on a corpus."""
