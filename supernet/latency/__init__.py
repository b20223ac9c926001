"""What each size costs on this machine: time, memory, loading, in PyTorch and as exported."""
