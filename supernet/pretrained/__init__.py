"""Checkpoints of other programs as plain data: configuration, vocabulary, features and tensors."""
