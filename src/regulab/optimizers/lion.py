"""Lion: steps of one size, in the direction of a sign."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field

from regulab.optimizers.optimizer import Number, Optimizer, State
from regulab.values import Fraction, Positive

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Lion(Optimizer):
    """Lion: w ← w − lr·sign(β₁m + (1−β₁)g), then m ← β₂m + (1−β₂)g.

    Every element moves by lr in each step, so that the rate is some three to ten times smaller than Adam's, and decay
    (technique ``weight_decay``, as decoupled as in the paper) as much larger. A step does not grow with its gradient:
    proximal steps, whose size follows from that, do not reach the penalty's minimizer and are refused. Where a gradient
    is nothing but rounding, such as that of a bias before batch norm, so is its sign. torch has no Lion; the plain loop
    steps by the lines of the paper's algorithm 2.

    Source: Chen et al. 2023 (arXiv 2302.06675).
    """

    name: ClassVar[str] = "lion"
    proximal: ClassVar[bool] = False
    lr: Positive = Field(default=1e-4, description="The learning rate; under a schedule its highest.")
    betas: tuple[Fraction, Fraction] = Field(
        default=(0.9, 0.99),
        description="What of the mean gradient a step's direction and the mean itself keep.",
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(lr=0.01), cls(lr=0.005, betas=(0.5, 0.8))

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("exp_avg",)

    def step(
        self, value: Tensor, gradient: Tensor, state: State, lr: Number, t: Number
    ) -> tuple[Tensor, State, Number]:
        beta1, beta2 = self.betas
        direction = state[0].lerp(gradient, 1 - beta1).sign()
        return value - lr * direction, (state[0].lerp(gradient, 1 - beta2),), 0.0

    def remember(self, state: State, gradient: Tensor) -> State:
        return (state[0] + (1 - self.betas[1]) * gradient,)

    def reference(self, parameters: Iterable[torch.nn.Parameter], lr: float) -> torch.optim.Optimizer:
        import torch

        beta1, beta2 = self.betas

        class PlainLion(torch.optim.Optimizer):
            """Algorithm 2 of the paper, without its decay."""

            @torch.no_grad()
            def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is None:
                            continue
                        m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                        c = beta1 * m + (1 - beta1) * p.grad
                        p.sub_(group["lr"] * torch.sign(c))
                        m.copy_(beta2 * m + (1 - beta2) * p.grad)

        return PlainLion(parameters, {"lr": lr})

    def reference_sensitivity(self, state: Mapping[str, Tensor], lr: float) -> float:
        return 0.0
