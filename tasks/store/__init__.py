"""Manifest folders and the index of their utterances."""
