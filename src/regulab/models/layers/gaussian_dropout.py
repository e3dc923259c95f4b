"""Gaussian dropout: activations are multiplied with normal noise of mean 1, in the place of 0 or 1/(1 − p)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from regulab.models.layers.dropout import LEVELS, RatedEquation
from regulab.models.stacking.dropout import StackedEquation

# Over all 65,536 draws the variance of √2·erf⁻¹ is 0.99997972: by this much a number is too small.
NARROW = 1.00001014


def normal(draws: Tensor) -> Tensor:
    """int16 draws, uniform over all 65,536 values, as numbers of a standard normal distribution, in float32.

    z = Φ⁻¹((d + 32768 + ½)/65536) = √2·erf⁻¹((2d + 1)/65536): symmetric, and no further from 0 than 4.33.
    """
    uniform = (2 * draws.to(torch.float32) + 1) / LEVELS
    inverse: Tensor = torch.special.erfinv(uniform)
    return inverse * (math.sqrt(2) * NARROW)


class GaussianDropout(RatedEquation):
    """y = x·(1 + σ·z) in training, z ~ N(0, 1) for each element, σ² = p/(1 − p); inference: y = x.

    Mean and variance of the factor are those of inverted dropout's. Any shape ``(B, …)``.
    """

    def __init__(self, rate: float) -> None:
        super().__init__(rate)

    @staticmethod
    def examples() -> tuple[nn.Module, ...]:
        return GaussianDropout(0.2), GaussianDropout(0.5)

    def shape_of_draws(self, shape: torch.Size) -> torch.Size:
        return shape

    def constants(self, rate: float, shape: torch.Size) -> tuple[float, ...]:
        """σ."""
        return (math.sqrt(rate / (1 - rate)),)

    def applied(self, x: Tensor, draws: Tensor, *constants: float | Tensor) -> Tensor:
        (deviation,) = constants
        exact = torch.promote_types(x.dtype, torch.float32)  # the factor is not rounded to bfloat16
        return (x * (1 + deviation * normal(draws).to(exact))).to(x.dtype)

    @staticmethod
    def stacked(layers: Sequence[GaussianDropout]) -> nn.Module:
        return StackedEquation(layers)
