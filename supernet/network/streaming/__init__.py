"""Networks that recognize while someone speaks: chunks in training, and caches in recognition."""
