"""regulab trains one image classifier under different regularizers, side by side, and tells which one helps."""

__version__ = "0.1.0"
