"""The optimizers, one a file: an optimizer's values, its step over a stack of runs, and torch's own beside it.

Nothing here imports torch when it is read, so that a study file is checked without it.
"""

from regulab.optimizers.optimizer import Optimizer
from regulab.registry import catalogue

OPTIMIZERS: dict[str, type[Optimizer]] = catalogue("regulab.optimizers", Optimizer)
