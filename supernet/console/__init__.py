"""The command line: options, progress, tables, messages, and the next commands to type."""
