"""Adam: steps in units of the gradient's running size."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field

from regulab.optimizers.optimizer import Number, Optimizer, State
from regulab.values import Fraction, Positive

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class AdaptiveMoments(Optimizer, ABC):
    """The step that Adam and AdamW share: m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², w ← w − lr·m̂/(√v̂ + ε).

    m̂ = m/(1−β₁ᵗ) and v̂ = v/(1−β₂ᵗ) are free of the zeros that both begin with.
    """

    lr: Positive = Field(default=1e-3, description="The learning rate; under a schedule its highest.")
    betas: tuple[Fraction, Fraction] = Field(
        default=(0.9, 0.999),
        description="Decay rates of the running means of the gradient and of its square.",
    )
    eps: Positive = Field(default=1e-8, description="Added to the root of the mean square.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(lr=0.05), cls(lr=0.05, betas=(0.7, 0.95), eps=1e-5)

    @property
    def state_names(self) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"

    def step(
        self, value: Tensor, gradient: Tensor, state: State, lr: Number, t: Number
    ) -> tuple[Tensor, State, Number]:
        return step_by_moments(value, gradient, state, lr, t, self.betas, self.eps)

    def remember(self, state: State, gradient: Tensor) -> State:
        return state[0] + (1 - self.betas[0]) * gradient, state[1]

    def reference_sensitivity(self, state: Mapping[str, Tensor], lr: float) -> Tensor:
        beta1, beta2 = self.betas
        t = float(state["step"])
        deviation = (state["exp_avg_sq"] / (1 - beta2**t)).sqrt() + self.eps
        sensitivity: Tensor = lr * (1 - beta1) / (1 - beta1**t) / deviation
        return sensitivity


def step_by_moments(
    value: Tensor,
    gradient: Tensor,
    state: State,
    lr: Number,
    t: Number,
    betas: tuple[float, float],
    eps: float,
) -> tuple[Tensor, State, Number]:
    """The step of `AdaptiveMoments`, as `Optimizer.step` has it."""
    beta1, beta2 = betas
    m = state[0].lerp(gradient, 1 - beta1)
    v = beta2 * state[1] + (1 - beta2) * gradient * gradient
    scale = (v / (1 - beta2**t)).sqrt_().add_(eps)
    size = lr / (1 - beta1**t)
    return value - size * m / scale, (m, v), size * (1 - beta1) / scale


class Adam(AdaptiveMoments):
    """Adam: w ← w − lr·m̂/(√v̂ + ε), m̂ and v̂ running means of the gradient and of its square without their bias.

    Source: Kingma & Ba 2015 (arXiv 1412.6980).
    """

    name: ClassVar[str] = "adam"

    def reference(self, parameters: Iterable[torch.nn.Parameter], lr: float) -> torch.optim.Optimizer:
        from torch import optim

        return optim.Adam(parameters, lr=lr, betas=self.betas, eps=self.eps, weight_decay=0)
