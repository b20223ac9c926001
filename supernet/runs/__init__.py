"""Runs on disk: configurations, models, selections and results."""
