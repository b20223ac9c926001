"""Tests of the encoder families of `transformers`."""
