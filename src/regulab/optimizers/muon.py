"""Muon: steps along the gradient's directions, all of one length."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from regulab.optimizers.adam import step_by_moments
from regulab.optimizers.optimizer import Number, Optimizer, State
from regulab.values import Fraction, Positive

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Of the quintic polynomial that takes singular values towards 1; torch's defaults, from Jordan's text.
A, B, C = 3.4445, -4.7750, 2.0315
SMALLEST_NORM = 1e-7
ADAM_EPS = 1e-8
ADAM_BETAS = (0.9, 0.999)


class Muon(Optimizer):
    """Muon: W ← W − lr·s·NS(u) for matrices, with m ← μm + (1−μ)g, u = m or by ``nesterov`` (1−μ)g + μm; else Adam.

    NS takes the singular values of u to about 1: u/‖u‖, then ``ns_steps`` times X ← aX + (bG + cG²)X with G = XXᵀ, in
    bfloat16 whatever the precision. The size s of an A × B matrix is √max(1, A/B) (``adjust_lr: original``) or
    0.2·√max(A, B), the default, under which the rates are those of Adam. A convolution is the matrix of its output
    channels by the rest, the last layer one like others. Parameters that are no matrices, such as biases and γ, β of
    norms, step by Adam with β 0.9 and 0.999 at lr·``others``. Every matrix of every run is stepped by itself, those of
    several runs in one go. It is ``torch.optim.Muon``, which takes A × B alone, beside ``torch.optim.Adam``; decay is
    the technique ``weight_decay``. A step does not grow with its gradient, so that proximal steps are refused.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Liu et al. 2025
    (arXiv 2502.16982) for the sizes.
    """

    name: ClassVar[str] = "muon"
    proximal: ClassVar[bool] = False
    for_matrices: ClassVar[bool] = True
    lr: Positive = Field(default=1e-3, description="The learning rate; under a schedule its highest.")
    momentum: Fraction = Field(default=0.95, description="What of the mean gradient each step keeps.")
    nesterov: bool = Field(default=True, description="The gradient as it will be after the momentum's step.")
    ns_steps: Annotated[int, Field(ge=1, le=99)] = Field(
        default=5, description="Steps of the iteration that makes singular values alike."
    )
    adjust_lr: Literal["match_rms_adamw", "original"] = Field(
        default="match_rms_adamw",
        description="The size of a matrix's step: as large on average as Adam's, or as it first was.",
    )
    others: Positive = Field(
        default=1.0, description="The rate of parameters that are no matrices, in units of lr."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (
            cls(lr=0.02),
            cls(lr=0.05, momentum=0.8, nesterov=False, ns_steps=3, adjust_lr="original", others=0.3),
        )

    @property
    def state_names(self) -> tuple[str, ...]:
        """The second one is of no use to matrices."""
        return "exp_avg", "exp_avg_sq"

    def step(
        self, value: Tensor, gradient: Tensor, state: State, lr: Number, t: Number
    ) -> tuple[Tensor, State, Number]:
        if value.ndim < 3:
            numbers = (self.others * lr, t, ADAM_BETAS, ADAM_EPS)
            moved, state, _ = step_by_moments(value, gradient, state, *numbers)
            return moved, state, 0.0
        m = state[0].lerp(gradient, 1 - self.momentum)
        u = gradient.lerp(m, self.momentum) if self.nesterov else m
        direction = orthogonalized(u.flatten(2), self.ns_steps).view(value.shape)
        size = self._size(value.shape[1], value[0, 0].numel())
        return value - (lr * size) * direction.to(value.dtype), (m, state[1]), 0.0

    def _size(self, rows: int, columns: int) -> float:
        if self.adjust_lr == "original":
            return math.sqrt(max(1, rows / columns))
        return 0.2 * math.sqrt(max(rows, columns))

    def remember(self, state: State, gradient: Tensor) -> State:
        kept = self.momentum if state[0].ndim >= 3 else ADAM_BETAS[0]
        return state[0] + (1 - kept) * gradient, state[1]

    def reference(self, parameters: Iterable[torch.nn.Parameter], lr: float) -> torch.optim.Optimizer:
        import torch
        from torch import nn

        ours = self

        class PlainMuon(torch.optim.Optimizer):
            """torch's Muon on every matrix, flattened, and torch's Adam on the rest; state under Adam's names."""

            @torch.no_grad()
            def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
                (group,) = self.param_groups
                for p in group["params"]:
                    if p.grad is not None:
                        (self._by_muon if p.ndim > 1 else self._by_adam)(p, group["lr"])

            def _by_muon(self, p: nn.Parameter, rate: float) -> None:
                assert p.grad is not None
                flat, state = nn.Parameter(p.flatten(1).clone()), self.state[p]
                flat.grad = p.grad.flatten(1)
                muon = torch.optim.Muon(
                    [flat],
                    rate,
                    weight_decay=0,
                    momentum=ours.momentum,
                    nesterov=ours.nesterov,
                    ns_steps=ours.ns_steps,
                    adjust_lr_fn=ours.adjust_lr,
                )
                if "exp_avg" in state:
                    muon.state[flat]["momentum_buffer"] = state["exp_avg"].flatten(1)
                muon.step()
                p.copy_(flat.view_as(p))
                state["exp_avg"] = muon.state[flat]["momentum_buffer"].view_as(p)
                state.setdefault("exp_avg_sq", torch.zeros_like(p))

            def _by_adam(self, p: nn.Parameter, rate: float) -> None:
                adam = torch.optim.Adam([p], ours.others * rate, ADAM_BETAS, ADAM_EPS)
                adam.state[p] = self.state[p]
                adam.step()

        return PlainMuon(parameters, {"lr": lr})

    def reference_sensitivity(self, state: Mapping[str, Tensor], lr: float) -> float:
        return 0.0


def orthogonalized(matrices: Tensor, steps: int) -> Tensor:
    """``(R, A, B)``, each by itself, with singular values of about 1, in bfloat16 as torch computes them."""
    import torch

    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    x = x.mT if tall else x
    x = x / x.flatten(1).norm(dim=1).clamp(min=SMALLEST_NORM)[:, None, None]
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return x.mT if tall else x
