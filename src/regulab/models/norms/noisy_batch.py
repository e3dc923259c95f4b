"""Batch normalization whose output is shifted and scaled anew in every step: an experiment, not a remedy."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from regulab.models.norm import Norm
from regulab.models.norms.batch import BatchNorm

LARGEST_SHIFT = 0.5
SMALLEST_FACTOR, LARGEST_FACTOR = 0.5, 1.5


class NoisyBatchNorm(nn.Module):
    """``(B, C, H, W)``: z = s·BN(x) + m in training, BN(x) in inference, so that a layer's inputs shift in every step.

    In each forward pass of training every channel draws its own m, uniform between ±0.5, and its own s, uniform
    between 0.5 and 1.5, for all images of the batch alike. The draws come from torch's generator, which the plain
    loop keys by seed and epoch; a stack would draw otherwise, so that no fleet takes it.

    Source: Santurkar et al. 2018 (arXiv 1805.11604), section 2.2, whose noise is of this kind with other constants.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x)
        if not self.training:
            return y
        place, size = torch.rand(2, y.shape[1], 1, 1, device=y.device).to(y.dtype)
        factor = SMALLEST_FACTOR + (LARGEST_FACTOR - SMALLEST_FACTOR) * size
        noisy: Tensor = factor * y + LARGEST_SHIFT * (2 * place - 1)
        return noisy


class NoisyBatch(Norm):
    """batch norm, then a random shift and scale per channel and step: to bring covariate shift back

    z = s·BN(x) + m in training, BN(x) in inference, so that a layer's inputs shift in every step. In each forward pass
    of training every channel draws its own m, uniform between ±0.5, and its own s, uniform between 0.5 and 1.5, for all
    images of the batch alike. It trains in the plain loop alone.

    Source: Santurkar et al. 2018 (arXiv 1805.11604), section 2.2, whose noise is of this kind with other constants.
    """

    name: ClassVar[str] = "noisy_batch"
    shifts: ClassVar[bool] = (
        False  # with noise, equal inputs give unequal outputs: nothing can be promised of a bias
    )
    stacks: ClassVar[bool] = False

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(),)

    def build(self, channels: int) -> nn.Module:
        return NoisyBatchNorm(channels)

    def legend(self) -> str:
        return "noisy_batch norm"
