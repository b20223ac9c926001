"""Runs on disk: configuration, models, selections, results."""
