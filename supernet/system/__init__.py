"""The machine under it: files, folders, devices, time."""
