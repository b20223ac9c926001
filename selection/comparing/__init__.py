"""Choices of several selections in one comparison."""
