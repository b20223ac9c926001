"""Corpora turned into batches."""
