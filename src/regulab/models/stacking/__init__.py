"""Stacking: R modules of one architecture as one module over ``(B, R·C, H, W)``. One rule per layer type.

Run r's channels are the r-th block of C; parameters and buffers become ``(R, *shape)``. A layer whose class has a
function ``stacked(layers)`` says itself how; the rules for torch's layers are in `rules`. A network whose own code
would mean something else with the runs side by side is *followed*: its code gets tensors of one run's shape
(`run_tensor`), and functions of torch are carried out for all runs (`calls`). What neither reaches raises
`Unstackable`, and `stack_check` compares every stack with the plain modules before anyone trains it.
"""

from regulab.models.stacking import calls  # noqa: F401  (registers the rules for functions)
from regulab.models.stacking.dropout import StackedDropout, StackedRates
from regulab.models.stacking.layers import StackedConv2d
from regulab.models.stacking.norms import StackedBatchNorm
from regulab.models.stacking.parameters import of_all_runs, stack_parameters
from regulab.models.stacking.rules import stack_modules
from regulab.models.stacking.unstackable import Unstackable

__all__ = [
    "StackedBatchNorm",
    "StackedConv2d",
    "StackedDropout",
    "StackedRates",
    "Unstackable",
    "of_all_runs",
    "stack_modules",
    "stack_parameters",
]
