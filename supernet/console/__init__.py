"""How the commands speak: text made harmless, options, progress, tables, and the command to type next."""
