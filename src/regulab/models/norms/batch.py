"""Batch normalization (Ioffe & Szegedy 2015, arXiv 1502.03167): the plain reference and the fast layer."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.norm import Norm


def batch_norm(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    running_mean: Tensor,
    running_variance: Tensor,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Algorithm 1 of the paper, line by line, for each of the C channels of ``x`` ``(B, C, H, W)``.

    Training, over the m = B·H·W values of a channel::

        μ  = 1/m Σ xᵢ          σ² = 1/m Σ (xᵢ − μ)²          (the biased variance)
        x̂ᵢ = (xᵢ − μ)/√(σ² + ε)          yᵢ = γ x̂ᵢ + β

    and the running averages move by ``momentum`` towards μ and the *unbiased* variance m/(m−1)·σ²,
    in place. Inference puts the running averages in the place of μ and σ². γ, β and the running
    averages have shape ``(C,)``: one of each per channel. A bias added before shifts x and μ alike
    and is subtracted out again.
    """
    if training:
        m = x.numel() // x.shape[1]
        mean = x.sum((0, 2, 3)) / m
        variance = (x - mean[:, None, None]).square().sum((0, 2, 3)) / m
        with torch.no_grad():
            running_mean += momentum * (mean - running_mean)
            running_variance += momentum * (m / (m - 1) * variance - running_variance)
    else:
        mean, variance = running_mean, running_variance
    normalized = (x - mean[:, None, None]) / torch.sqrt(variance + eps)[:, None, None]
    return gamma[:, None, None] * normalized + beta[:, None, None]


class BatchNorm(nn.Module):
    """Batch normalization of ``(B, C, H, W)`` by torch's kernel: values, gradients and buffers are `batch_norm`'s.

    Activations may be bfloat16; γ, β, the statistics and the running averages stay float32.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )


class Batch(Norm):
    """batch normalization: per channel, over the mini-batch; running averages at test time

    Training, over the m = B·H·W values xᵢ of a channel::

        μ  = 1/m Σ xᵢ          σ² = 1/m Σ (xᵢ − μ)²          (the biased variance)
        x̂ᵢ = (xᵢ − μ)/√(σ² + ε)          yᵢ = γ x̂ᵢ + β

    and the running averages move by a tenth towards μ and the *unbiased* variance m/(m−1)·σ². Inference puts them in
    the place of μ and σ². A bias added before shifts x and μ alike and is subtracted out again, so that
    nets give the convolution before it none. ε is 1e-5.

    Source: Ioffe & Szegedy 2015 (arXiv 1502.03167).
    """

    name: ClassVar[str] = "batch"

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(),)

    def build(self, channels: int) -> nn.Module:
        return BatchNorm(channels)

    def legend(self) -> str:
        return "batch norm"
