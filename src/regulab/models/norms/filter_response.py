"""Filter response normalization: each channel of each image by its mean square, with a learned threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from regulab.models.norm import Norm
from regulab.models.stacking import of_all_runs, stack_parameters

LEARNED_EPS = 1e-4  # where it begins
NAMES = ("weight", "bias", "tau", "learned_eps")


class FilterResponse(Norm):
    """filter response normalization: each channel of each image by its mean square, and a learned threshold for ReLU

    Over the H·W values xᵢ of a channel of one image::

        ν² = mean of xᵢ²          yᵢ = γ xᵢ/√(ν² + ε) + β          zᵢ = max(yᵢ, τ)

    with one γ, β and τ for each channel; γ begins at 1, β and τ at 0. No mean is taken off, so that the convolution
    before it keeps its bias. The threshold τ (TLU) stands for the ReLU behind the norm, also at a unit's end where the
    norm stands after ReLU; before the sum of a residual block there is none. Inference is the same as training.

    Parameters: ``eps`` ε > 0, by default 1e-6; ``learn_eps`` adds |ε_l| to it, one number for each layer that is
    learned and begins at 1e-4: for maps of few places, since of a single one (the units of ``mlp``) y is about γ·sign x
    + β without it; ``tlu: false`` leaves τ out, and ReLU where it is.

    Source: Singh & Krishnan 2019 (arXiv 1911.09737).
    """

    name: ClassVar[str] = "filter_response"
    shifts: ClassVar[bool] = False
    activation: ClassVar[str] = "tlu"
    eps: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=1e-6, description="ε, which is added to the mean square."
    )
    learn_eps: bool = Field(default=False, description="Whether a learned number is added to ε.")
    tlu: bool = Field(default=True, description="Whether a learned threshold stands for the ReLU behind.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(), cls(eps=1e-3, learn_eps=True, tlu=False)

    def build(self, channels: int) -> nn.Module:
        return FilterResponseNorm(channels, self.eps, self.learn_eps, self.tlu)

    def legend(self) -> str:
        return "filter response norm" if self.tlu else "filter response norm without TLU"


class FilterResponseNorm(nn.Module):
    """`FilterResponse` of ``(B, C, H, W)``; γ, β and τ are ``(C,)``, or ``(R, C)`` of a stack, ε_l ``(1,)``.

    Channels are normalized one by one, so that a stack is the layer itself, of all runs. Activations may be bfloat16:
    the mean square is in the type of γ.
    """

    weight: Tensor
    bias: Tensor
    tau: Tensor | None
    learned_eps: Tensor | None

    def __init__(self, channels: int, eps: float, learn_eps: bool, tlu: bool) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_parameter("tau", nn.Parameter(torch.zeros(channels)) if tlu else None)
        learned = nn.Parameter(torch.full((1,), LEARNED_EPS)) if learn_eps else None
        self.register_parameter("learned_eps", learned)

    def forward(self, x: Tensor) -> Tensor:
        gamma, beta = self.weight, of_all_runs(self.bias)
        y = x.to(gamma.dtype)
        squares = y.square().mean((2, 3)) + self.eps  # (B, R·C)
        if self.learned_eps is not None:
            squares = squares + self.learned_eps.abs().expand_as(gamma).flatten()
        scale = of_all_runs(gamma) * squares.rsqrt()
        y = torch.addcmul(beta[:, None, None], y, scale[:, :, None, None])
        y = y if self.tau is None else torch.maximum(y, of_all_runs(self.tau)[:, None, None])
        return y.to(x.dtype)

    @staticmethod
    def examples() -> tuple[nn.Module, ...]:
        return FilterResponseNorm(3, 1e-6, False, True), FilterResponseNorm(4, 0.1, True, False)

    @staticmethod
    def stacked(layers: Sequence[FilterResponseNorm]) -> nn.Module:
        first = layers[0]
        stack = FilterResponseNorm(0, first.eps, False, False)
        stack_parameters(stack, layers, NAMES)
        return stack
