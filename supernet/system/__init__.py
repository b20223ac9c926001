"""Services of the operating system: files, folders, devices, timing."""
