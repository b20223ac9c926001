"""Batches and tokens made from a manifest folder."""
