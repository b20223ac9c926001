"""Batches and tokens from a manifest folder."""
