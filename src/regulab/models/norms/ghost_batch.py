"""Ghost batch normalization: batch norm over parts of the batch, whose statistics are noisier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from regulab.models.norm import Norm
from regulab.models.stacking import of_all_runs, stack_parameters

MOMENTUM, EPS = 0.1, 1e-5
NAMES = ("weight", "bias", "running_mean", "running_var")


class GhostBatch(Norm):
    """batch norm over parts of the batch, each with its own statistics

    The batch of B images is cut into ``splits`` ghost batches, one after the other, and each is normalized by itself::

        yᵢ = γ (xᵢ − μ_g)/√(σ²_g + ε) + β          g the ghost batch of image i

    with μ_g and σ²_g the mean and biased variance of a channel over the images and places of that ghost batch.
    Inference is that of ``batch``: running averages of the mean and the unbiased variance of the *whole* batch, which
    move by a tenth in every step. ε is 1e-5.

    Parameter: ``splits`` ≥ 1, by default 4; 1 is ``batch``. Where it does not divide B, the first ghost batches have
    one image more than the last; where they would have less than two images, there are B // 2 of them.

    Source: Hoffer, Hubara & Soudry 2017 (arXiv 1705.08741), whose running averages take the ghost batches one by one.
    """

    name: ClassVar[str] = "ghost_batch"
    splits: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=4, description="Into how many ghost batches a batch is cut."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(), cls(splits=3)

    def build(self, channels: int) -> nn.Module:
        return GhostBatchNorm(channels, self.splits)

    def legend(self) -> str:
        return f"ghost batch norm, {self.splits} splits"


class _Layer(nn.Module):
    """γ, β and the running averages are ``(C,)``, or ``(R, C)`` of a stack. Statistics are float32 at least."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, splits: int) -> None:
        super().__init__()
        self.splits, self.momentum = splits, MOMENTUM

    def forward(self, x: Tensor) -> Tensor:
        """``(B, R·C, H, W)``: channels are normalized one by one, so that a stack is the layer itself, of all runs."""
        gamma, beta = of_all_runs(self.weight), of_all_runs(self.bias)
        running_mean, running_var = self.running_mean.flatten(), self.running_var.flatten()
        if not self.training:
            return F.batch_norm(x, running_mean, running_var, gamma, beta, False, self.momentum, EPS)
        y, values = x.to(gamma.dtype), x.numel() // x.shape[1]
        if values == 1:  # in torch's words, for which a message has the cure
            raise ValueError("Expected more than 1 value per channel when training")
        member = _members(y, self.splits)
        sizes = member.sum(1, keepdim=True)
        means = _weighted(member / sizes, y.mean((2, 3)))  # (G, R·C)
        centred = y - _weighted(member.T, means)[:, :, None, None]
        variances = _weighted(member / sizes, centred.square().mean((2, 3)))
        self._update_running_averages(means.detach(), variances.detach(), sizes / len(y), values)
        scale = _weighted(member.T, gamma * (variances + EPS).rsqrt())
        return torch.addcmul(beta[:, None, None], centred, scale[:, :, None, None]).to(x.dtype)

    def _update_running_averages(self, means: Tensor, variances: Tensor, share: Tensor, values: int) -> None:
        """Running averages move towards the whole batch's mean and unbiased variance, over ``values`` of a channel."""
        mean = (share * means).sum(0)
        variance = (share * (variances + (means - mean).square())).sum(0)
        # Behind autograd's back: all buffers of a stack are views of one vector, and a layer before this one that
        # saved its part for its backward pass would be told that it changed.
        self.running_mean.data.lerp_(mean.view_as(self.running_mean), self.momentum)
        self.running_var.data.lerp_(
            (variance * (values / (values - 1))).view_as(self.running_var), self.momentum
        )


def _members(x: Tensor, splits: int) -> Tensor:
    """``(G, B)``: 1 where an image is of a ghost batch, else 0. Made on the device, and kept nowhere.

    A layer that kept it would count as one with state of its own, which no fleet takes.
    """
    count = max(1, min(splits, len(x) // 2))
    size, larger = divmod(len(x), count)
    image, ghost = torch.arange(len(x), device=x.device), torch.arange(count, device=x.device)
    of_smaller = torch.div(image - larger * (size + 1), size, rounding_mode="floor") + larger
    ghost_of = torch.where(image < larger * (size + 1), image // (size + 1), of_smaller)
    return (ghost_of == ghost[:, None]).to(x.dtype)


def _weighted(weights: Tensor, values: Tensor) -> Tensor:
    """The product ``(M, N) × (N, C)`` of small matrices, which autocast leaves in the type that they have."""
    return (weights[:, :, None] * values).sum(1)


class GhostBatchNorm(_Layer):
    """Ghost batch normalization of ``(B, C, H, W)``; see `GhostBatch`."""

    def __init__(self, channels: int, splits: int) -> None:
        super().__init__(splits)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    @staticmethod
    def examples() -> tuple[nn.Module, ...]:
        return GhostBatchNorm(3, 2), GhostBatchNorm(4, 5)

    @staticmethod
    def stacked(layers: Sequence[GhostBatchNorm]) -> nn.Module:
        stack = _Layer(layers[0].splits)
        stack_parameters(stack, layers, NAMES)
        return stack
