"""Convolutions and linear layers of R runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.stacking.parameters import of_all_runs, stack_parameters
from regulab.models.stacking.products import product_of_runs
from regulab.models.stacking.run_tensor import RunTensor, linear_of_runs, runs_first
from regulab.models.stacking.unstackable import Unstackable


class StackedConv2d(nn.Module):
    """R convolutions as one with ``groups=R·g``: ``(B, R·C, H, W) → (B, R·O, H', W')``.

    Neither one dense convolution for the arms of a seed, which share their images, nor a block-diagonal dense one is
    faster: 15 ms against 2.3 for the first layer, 3.9 against 2.1 backward for a later one (docs/log.md, 2026-11-25).
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        self.like = [layers[0]]  # in a list: settings to read, not a submodule
        stack_parameters(self, layers, ("weight", "bias"))

    def forward(self, x: Tensor) -> Tensor:
        like, runs = self.like[0], self.weight.shape[0]
        weight = self.weight.flatten(0, 1).to(dtype=x.dtype, memory_format=torch.channels_last)
        bias = None if self.bias is None else of_all_runs(self.bias).to(x.dtype)
        return F.conv2d(x, weight, bias, like.stride, like.padding, like.dilation, runs * like.groups)


CONVOLVE: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.Conv3d: F.conv3d,
    nn.ConvTranspose1d: F.conv_transpose1d,
    nn.ConvTranspose2d: F.conv_transpose2d,
    nn.ConvTranspose3d: F.conv_transpose3d,
}


class StackedConvolution(nn.Module):
    """R convolutions of any kind, transposed ones and any padding too: ``(B, R·C, …) → (B, R·O, …)``."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self.like = [layers[0]]
        stack_parameters(self, layers, ("weight", "bias"))

    def forward(self, x: Tensor) -> Tensor:
        like, padding = self.like[0], self.like[0].padding
        groups = self.weight.shape[0] * like.groups
        if like.padding_mode != "zeros":
            x, padding = F.pad(x, like._reversed_padding_repeated_twice, mode=like.padding_mode), 0
        weight = self.weight.flatten(0, 1).to(x.dtype)
        bias = None if self.bias is None else of_all_runs(self.bias).to(x.dtype)
        convolve = CONVOLVE[type(like)]
        if like.transposed:
            return convolve(x, weight, bias, like.stride, padding, like.output_padding, groups, like.dilation)
        return convolve(x, weight, bias, like.stride, padding, like.dilation, groups)


def stack_convolutions(layers: Sequence[nn.Conv2d]) -> nn.Module:
    return StackedConv2d(layers) if layers[0].padding_mode == "zeros" else StackedConvolution(layers)


class StackedPReLU(nn.Module):
    """max(0, x) + a·min(0, x), with a of each run, or of each of its channels, on ``(B, R·C, …)``."""

    weight: Tensor

    def __init__(self, layers: Sequence[nn.PReLU]) -> None:
        super().__init__()
        stack_parameters(self, layers, ("weight",))

    def forward(self, x: Tensor) -> Tensor:
        runs = self.weight.shape[0]
        slopes = self.weight.expand(runs, x.shape[1] // runs).reshape(-1)
        return F.prelu(x, slopes.to(x.dtype))


class StackedLinear(nn.Module):
    """R linear layers as one batched product ``(B, R·F) → (B, R·O)``, in the parameters' type."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.like = [layers[0]]
        stack_parameters(self, layers, ("weight", "bias"))

    def forward(self, x: Tensor) -> Tensor:
        runs = self.weight.shape[0]
        if x.ndim != 2:
            raise Unstackable("a linear layer on more than two dimensions")
        inputs = x.to(self.weight.dtype).view(x.shape[0], runs, -1).transpose(0, 1)  # (R, B, F)
        y = product_of_runs(inputs, self.weight)
        if self.bias is not None:
            y = y + self.bias[:, None]
        return y.transpose(0, 1).flatten(1)

    def on_runs(self, x: RunTensor) -> RunTensor:
        """One run's ``(…, F)`` to ``(…, O)``."""
        return RunTensor(linear_of_runs(runs_first(x), self.weight, self.bias), 0, x.of)
