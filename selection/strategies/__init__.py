"""The strategies that come with the project, one kind per file."""
