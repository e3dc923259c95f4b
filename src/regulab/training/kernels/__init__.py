"""Kernels of our own, for what no library does in one pass."""
