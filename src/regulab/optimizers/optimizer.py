"""What an optimizer is: frozen values, a pure step over a stack of runs, and torch's own optimizer, which it must
equal.

A fleet steps R runs at once, each as if it were alone, so a step is element by element along the first axis of
parameters ``(R, *shape)``. torch.optim takes one rate for a whole parameter and has no proximal step; it serves as the
reference: the plain loop trains with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

from regulab.values import Positive
from regulab.values.named import Named

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# A Python number, a scalar on the device, or one number a run, ``(R, 1, …)`` against a parameter ``(R, *shape)``.
Number: TypeAlias = "float | Tensor"
State: TypeAlias = "tuple[Tensor, ...]"  # what is remembered of one parameter, each of the parameter's shape


class Optimizer(Named, ABC):
    """An optimizer with its values. Subclasses with a ``name`` are final: one a file, found by that name.

    Regularization is no part of it: decay and penalties come from techniques. ``proximal`` says whether a proximal step
    after its own reaches the penalty's minimizer, as it does where a step is proportional to its gradient.
    ``for_matrices`` says that it steps a matrix as a whole: it gets each parameter in its own shape, and a network
    without a matrix is refused. All others go element by element, and get many parameters as one, ``(R, P)``.
    """

    name: ClassVar[str]
    one_cycle_lr: ClassVar[float | None] = (
        None  # the default peak under one-cycle, where it is not that of lr
    )
    proximal: ClassVar[bool] = True
    for_matrices: ClassVar[bool] = False
    lr: Positive

    @classmethod
    @abstractmethod
    def examples(cls) -> tuple[Self, ...]:
        """Values of itself off the defaults, one for each way in which it steps. The contract tests run them.

        At their ``lr`` a lasso of nine inputs is solved within 4,000 steps, where proximal steps can do so.
        """

    @property
    @abstractmethod
    def state_names(self) -> tuple[str, ...]:
        """What is remembered of a parameter between steps, by torch's names: zeros before the first."""

    @abstractmethod
    def step(
        self, value: Tensor, gradient: Tensor, state: State, lr: Number, t: Number
    ) -> tuple[Tensor, State, Number]:
        """One step of one parameter ``(R, *shape)``; ``t`` counts steps from 1.

        Returns the new value, the new state, and the sensitivity −∂(new value)/∂(gradient), as a number or of the
        parameter's shape, by which a proximal operator is scaled; 0 where there are no proximal steps. A scale that is
        adapted to the gradient's size counts as constant in it. Changes none of its arguments.
        """

    @abstractmethod
    def remember(self, state: State, gradient: Tensor) -> State:
        """The state as it would be if ``gradient`` had been added to the last step's."""

    @abstractmethod
    def reference(self, parameters: Iterable[torch.nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """torch's own optimizer with the same values and without weight decay, for a single run."""

    @abstractmethod
    def reference_sensitivity(self, state: Mapping[str, Tensor], lr: float) -> Number:
        """The sensitivity of a step that `reference` has taken, from what it keeps of the parameter since."""
