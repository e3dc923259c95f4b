"""Stochastic gradient descent, with momentum and Nesterov's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from regulab.optimizers.optimizer import Number, Optimizer, State
from regulab.values import Fraction, Positive, Refusal

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class SGD(Optimizer):
    """SGD: v ← momentum·v + gradient, w ← w − lr·v; with ``nesterov`` w ← w − lr·(gradient + momentum·v).

    As torch has it: the first v is the first gradient, and v is in units of the gradient, so that a change of the rate
    acts at once. Without momentum nothing is remembered.

    Source: Polyak 1964; Nesterov 1983; Sutskever et al. 2013.
    """

    name: ClassVar[str] = "sgd"
    one_cycle_lr: ClassVar[float | None] = 0.1
    lr: Positive = Field(
        default=0.01,
        description="The learning rate; under a schedule its highest. Under `one_cycle` the default is 0.1.",
    )
    momentum: Fraction = Field(default=0.9, description="How much of the last step each step keeps.")
    nesterov: bool = Field(default=False, description="The gradient as it will be after the momentum's step.")

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise Refusal("nesterov needs a momentum above 0", key="nesterov", expected="momentum: 0.9")
        return self

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (
            cls(lr=0.05, momentum=0),
            cls(lr=0.05, momentum=0.9),
            cls(lr=0.05, momentum=0.8, nesterov=True),
        )

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def step(
        self, value: Tensor, gradient: Tensor, state: State, lr: Number, t: Number
    ) -> tuple[Tensor, State, Number]:
        if self.momentum == 0:
            return value - lr * gradient, (), lr
        velocity = state[0] * self.momentum + gradient
        if self.nesterov:
            moved = value - lr * (gradient + self.momentum * velocity)
            return moved, (velocity,), lr * (1 + self.momentum)
        return value - lr * velocity, (velocity,), lr

    def remember(self, state: State, gradient: Tensor) -> State:
        return (state[0] + gradient,) if state else ()

    def reference(self, parameters: Iterable[torch.nn.Parameter], lr: float) -> torch.optim.Optimizer:
        from torch import optim

        return optim.SGD(parameters, lr=lr, momentum=self.momentum, nesterov=self.nesterov, weight_decay=0)

    def reference_sensitivity(self, state: Mapping[str, Tensor], lr: float) -> float:
        return lr * (1 + self.momentum if self.nesterov else 1)
