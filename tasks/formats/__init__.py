"""Formats in which custom corpora are listed, one file each."""
