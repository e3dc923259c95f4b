"""Batch renormalization: batch norm that is corrected towards what it gives at test time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from regulab.models.norm import Norm
from regulab.models.stacking import of_all_runs, stack_parameters

MOMENTUM, EPS = 0.1, 1e-5
NAMES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
Steps = Annotated[int, Field(ge=0, le=10**9)]


class BatchRenorm(Norm):
    """batch norm corrected towards its running averages, so that training and test time come close for small batches

    Training, over the m = B·H·W values xᵢ of a channel, with the running averages μ and σ as they were::

        μ_B = 1/m Σ xᵢ          σ_B = √(ε + 1/m Σ (xᵢ − μ_B)²)
        r = clip(σ_B/σ, 1/r_max, r_max)          d = clip((μ_B − μ)/σ, −d_max, d_max)
        x̂ᵢ = (xᵢ − μ_B)/σ_B · r + d          yᵢ = γ x̂ᵢ + β

    and no gradient passes through r and d; then μ and σ move by a tenth towards μ_B and σ_B. Inference: x̂ = (x − μ)/σ,
    which is what training gives as well where r and d are within their limits. For the first ``start`` steps r_max = 1
    and d_max = 0, which is batch norm; over the next ``ramp`` steps they rise evenly to what the study says. The layer
    counts its steps. What is added to a whole channel moves μ_B and with it μ, so that nets give the convolution before
    it no bias. ε is 1e-5.

    Parameters: ``r_max`` ≥ 1, by default 3; ``d_max`` ≥ 0, by default 5; ``start`` ≥ 0, by default 100 steps; ``ramp``
    ≥ 0, by default 1,000. The paper, which trains for 160,000, has 5,000 and then 35,000 for r_max, 20,000 for d_max,
    and averages that move by a hundredth.

    Source: Ioffe 2017 (arXiv 1702.03275).
    """

    name: ClassVar[str] = "batch_renorm"
    r_max: Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)] = Field(
        default=3.0, description="How far σ_B/σ may be from 1, up or down."
    )
    d_max: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = Field(
        default=5.0, description="How far (μ_B − μ)/σ may be from 0."
    )
    start: Steps = Field(default=100, description="Steps of plain batch norm at first.")
    ramp: Steps = Field(
        default=1000, description="Steps after those in which the limits rise to r_max and d_max."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(), cls(r_max=1.5, d_max=0.5, start=1, ramp=2)

    def build(self, channels: int) -> nn.Module:
        return BatchRenormalization(channels, self.r_max, self.d_max, self.start, self.ramp)

    def legend(self) -> str:
        return f"batch renorm, r ≤ {self.r_max:g}, d ≤ {self.d_max:g}"


class BatchRenormalization(nn.Module):
    """`BatchRenorm` of ``(B, C, H, W)``; parameters and averages are ``(C,)``, or ``(R, C)`` of a stack.

    Channels are normalized one by one, so that a stack is the layer itself, of all runs. ``running_var`` is σ², so that
    it is batch norm's by name and begins at 1; ``num_batches_tracked`` counts the steps. Statistics are float32 at
    least.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, r_max: float, d_max: float, start: int, ramp: int) -> None:
        super().__init__()
        self.r_max, self.d_max, self.start, self.ramp = r_max, d_max, start, ramp
        self.momentum = MOMENTUM
        self.corrects = (
            True  # False: r = 1 and d = 0, where running averages are made anew and mean nothing yet
        )
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        gamma, beta, y = of_all_runs(self.weight), of_all_runs(self.bias), x.to(self.weight.dtype)
        mean, deviation = self.running_mean.flatten(), self.running_var.flatten().sqrt()
        if not self.training:
            scale = gamma / deviation
            return torch.addcmul((beta - mean * scale)[:, None, None], y, scale[:, None, None]).to(x.dtype)
        if x.numel() == x.shape[1]:  # in torch's words, for which a message has the cure
            raise ValueError("Expected more than 1 value per channel when training")
        own_mean = y.mean((0, 2, 3))
        centred = y - own_mean[:, None, None]
        own_deviation = (centred.square().mean((0, 2, 3)) + EPS).sqrt()
        r, d = self._corrections(own_mean.detach(), own_deviation.detach(), mean, deviation)
        self._update(own_mean.detach(), own_deviation.detach(), deviation)
        scale, shift = gamma / own_deviation * r, gamma * d + beta
        return torch.addcmul(shift[:, None, None], centred, scale[:, None, None]).to(x.dtype)

    def _corrections(
        self, own_mean: Tensor, own_deviation: Tensor, mean: Tensor, deviation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """r and d of all channels, within the limits of this step."""
        done = (self.num_batches_tracked - self.start).to(mean.dtype)
        risen = (done / self.ramp).clamp(0, 1) if self.ramp else (done >= 0).to(mean.dtype)
        risen = risen if self.corrects else torch.zeros_like(risen)
        risen = risen.unsqueeze(-1).expand_as(self.weight).flatten()  # each run's, for its channels
        most_r, most_d = 1 + (self.r_max - 1) * risen, self.d_max * risen
        r = (own_deviation / deviation).maximum(1 / most_r).minimum(most_r)
        return r, ((own_mean - mean) / deviation).maximum(-most_d).minimum(most_d)

    def _update(self, own_mean: Tensor, own_deviation: Tensor, deviation: Tensor) -> None:
        # Behind autograd's back: all buffers of a stack are views of one vector, and a layer before this one that
        # saved its part for its backward pass would be told that it changed.
        self.running_mean.data.lerp_(own_mean.view_as(self.running_mean), self.momentum)
        moved = torch.lerp(deviation, own_deviation, self.momentum)
        self.running_var.data.copy_(moved.square().view_as(self.running_var))
        self.num_batches_tracked.data.add_(1)

    @staticmethod
    def examples() -> tuple[nn.Module, ...]:
        return BatchRenormalization(3, 3.0, 5.0, 1, 1), BatchRenormalization(4, 1.1, 0.2, 0, 0)

    @staticmethod
    def stacked(layers: Sequence[BatchRenormalization]) -> nn.Module:
        first = layers[0]
        stack = BatchRenormalization(0, first.r_max, first.d_max, first.start, first.ramp)
        stack_parameters(stack, layers, NAMES)
        return stack
