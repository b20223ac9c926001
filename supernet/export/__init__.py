"""Cut models for people's own machines: formats, and the check without which none is handed over."""
