"""Latency and memory of each size on this machine: time, memory, loading, in PyTorch and as exported."""
