"""Presets: what differs from the defaults of `supernet.config`, and nothing more."""
