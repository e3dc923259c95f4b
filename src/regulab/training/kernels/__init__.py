"""Our own kernels, for what no library does in one pass."""
