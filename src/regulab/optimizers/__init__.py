"""The optimizers, one a file: an optimizer's values, its step over a stack of runs, and torch's own beside it.

Importing these modules does not import torch, so a study file can be checked without it.
"""

from regulab.optimizers.optimizer import Optimizer
from regulab.registry import catalogue

OPTIMIZERS: dict[str, type[Optimizer]] = catalogue("regulab.optimizers", Optimizer)
