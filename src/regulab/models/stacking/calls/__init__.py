"""Rules for torch's functions on `RunTensor`: registered by being imported."""

from regulab.models.stacking.calls import elementwise, layers, reductions, shapes

__all__ = ["elementwise", "layers", "reductions", "shapes"]
