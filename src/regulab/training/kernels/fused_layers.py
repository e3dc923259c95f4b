"""How layers that were fused run: as one operation, and as many groups as possible one after another as a chain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from regulab.models.stacking import StackedBatchNorm, StackedConv2d, StackedDropout, of_all_runs
from regulab.models.stacking.run_tensor import RunTensor, through
from regulab.training.kernels.chain import ConvolvedBlock, shapes
from regulab.training.kernels.choice import Kernels, ProcessorKernels, kernels_for


@dataclass(frozen=True)
class FusedLayers:
    """A convolution, then `Between`: 2×2 max pooling or none, batch norm, ReLU, dropout or none.

    Or ReLU, batch norm, dropout or none (``relu_first``), as many networks of courses have it.
    Equal to ``layers`` one after the other but for rounding, running statistics and their count included.
    """

    layers: Sequence[nn.Module]
    conv: StackedConv2d
    pool: int  # 2, or 1 for none
    norm: StackedBatchNorm
    dropout: StackedDropout | None
    relu_first: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """The layers' output; of a followed network's tensor, too."""
        y: Tensor = in_turn([self], x)
        return y

    def alone(self, x: Tensor) -> Tensor:
        """``(B, R·C, H, W)`` to what ``layers`` make of it, ``(B, R·O, H', W')``, channels-last; in no chain."""
        joins = self._includes_convolution(x)
        if not joins:
            x = self.conv(x)
        kernels = self.kernels(x)
        values = x.shape[0] * (x.shape[2] // self.pool) * (x.shape[3] // self.pool)  # of a channel
        if kernels is None or values < 1 + self.norm.training:  # torch refuses a batch norm of one
            y: Tensor = one_by_one(self.layers[1:], x)
            return y
        x = x.contiguous(memory_format=torch.channels_last)
        weight, norm, affine = self.conv.weight if joins else None, self.norm, self.affine()
        runs = norm.running_mean.shape[0]
        if not norm.training:
            averages = self.averages()
            return kernels.infer(x, weight, affine, averages, runs, self.pool, norm.eps, self.relu_first)
        drops = self.drops(kernels, x, x.shape[2], x.shape[3])
        if weight is None:
            outputs = kernels.between(x, affine, runs, self.pool, norm.eps, drops, self.relu_first)
        else:
            outputs = kernels.convolved(x, weight, affine, self.pool, norm.eps, drops)
        y, center, spread = outputs
        self.count(center, spread, y.numel() // y.shape[1])
        if (
            self.dropout is not None and drops is None
        ):  # it drops nothing, or the kernels cannot draw as it does
            y = self.dropout(y)
        return y

    def affine(self) -> tuple[Tensor, Tensor]:
        assert self.norm.weight is not None
        assert self.norm.bias is not None
        return of_all_runs(self.norm.weight), of_all_runs(self.norm.bias)

    def averages(self) -> tuple[Tensor, Tensor]:
        """The running mean and variance ``(R·C,)``: views, updated in place."""
        return self.norm.running_mean.flatten(), self.norm.running_var.flatten()

    def count(self, center: Tensor, spread: Tensor, values: int) -> None:
        """Updates the running statistics by those of a step, of so many values a channel."""
        mean, variance = self.averages()
        # Behind autograd's back, as torch's own layer does it: all buffers of a stack are views of one vector, and a
        # batch norm before this one, which saved its part for its backward pass, would be told that it changed.
        mean.data.lerp_(center, self.norm.momentum)
        variance.data.lerp_(spread * (values / (values - 1)), self.norm.momentum)
        if self.norm.counts:
            self.norm.num_batches_tracked += 1

    def kernels(self, x: Tensor) -> Kernels | None:
        """The kernels for a map. None also where a fixed norm lets gradients pass, or has dropout."""
        return kernels_for(x.device, x.dtype) if self.fits() else None

    def fits(self) -> bool:
        """Whether kernels do what the norm does. A fixed one that lets gradients pass, or has dropout, is torch's."""
        return self.norm.training or not (torch.is_grad_enabled() or self.dropping())

    def dropping(self) -> bool:
        return self.dropout is not None and self.dropout.training and any(self.dropout.rates)

    def drops(self, kernels: Kernels, x: Tensor, height: int, width: int) -> Any:
        """The draws for what becomes of a convolution's output of a height and width; ``x`` is on their device."""
        if self.dropout is None or not self.dropping():
            return None
        size = (x.shape[0], self.conv.weight.shape[1], height // self.pool, width // self.pool)
        return kernels.drops(self.dropout, x, torch.Size(size))

    def block(self) -> ConvolvedBlock | None:
        """As a block of a chain, but for its draws; None where the convolution is of another kind."""
        like, conv = self.conv.like[0], self.conv
        padding = 1 if like.padding in ("same", (1, 1)) else 0 if like.padding in ("valid", (0, 0)) else None
        settings = (like.kernel_size, like.stride, like.dilation, like.groups)
        if padding is None or settings != ((3, 3), (1, 1), (1, 1), 1):
            return None
        bias = None if conv.bias is None else of_all_runs(conv.bias)
        if any(t is not None and t.dtype != torch.float32 for t in (conv.weight, bias, self.norm.weight)):
            return None
        gamma, beta = self.affine()
        return ConvolvedBlock(
            *(conv.weight, bias, gamma, beta, self.pool, self.norm.eps, self.relu_first, padding, None),
            *(self.averages(), self.norm.momentum),
        )

    def _includes_convolution(self, x: Tensor) -> bool:
        """Whether the kernels do the convolution too, and are none for chains."""
        block = self.block()
        if block is None or self.relu_first or block.bias is not None or block.padding != 1:
            return False
        kernels = self.kernels(x)
        if kernels is None or isinstance(kernels, ProcessorKernels):
            return False
        return kernels.convolves(x, self.conv.weight, self.pool)


def in_turn(calls: Sequence[Callable[[Any], Any]], x: Any) -> Any:
    """What layers, and groups of fused ones, make of ``x``; consecutive groups run as a chain where kernels allow."""
    calls = list(calls)
    while calls:
        group = _leading_groups(calls)
        if not group:
            x = calls.pop(0)(x)
            continue
        run = partial(_chain, group)
        x = through(run, x) if isinstance(x, RunTensor) else run(x)
        del calls[: len(group)]
    return x


def _leading_groups(calls: Sequence[Callable[[Any], Any]]) -> list[FusedLayers]:
    group: list[FusedLayers] = []
    for call in calls:
        if not isinstance(call, FusedLayers):
            break
        group.append(call)
    return group


def _chain(groups: Sequence[FusedLayers], x: Tensor) -> Tensor:
    """``(B, R·C, H, W)`` through groups of layers, as few operations as the kernels make of them."""
    rest = list(groups)
    while rest:
        joined = joined_blocks(rest, x)
        x = _together(rest[: len(joined)], joined, x) if joined else rest[0].alone(x)
        del rest[: max(1, len(joined))]
    return x


def joined_blocks(groups: Sequence[FusedLayers], x: Tensor) -> list[ConvolvedBlock]:
    """The first of the groups that can be one chain on a processor."""
    blocks: list[ConvolvedBlock] = []
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):  # that chooses other types than x has
        return blocks
    kernels = kernels_for(x.device, x.dtype)
    if not isinstance(kernels, ProcessorKernels):
        return blocks
    for group in groups:
        block = group.block() if group.norm.training == groups[0].norm.training and group.fits() else None
        if block is None:
            break
        blocks.append(block)
    return blocks[: kernels.joins(x, blocks)]


def _together(groups: Sequence[FusedLayers], blocks: Sequence[ConvolvedBlock], x: Tensor) -> Tensor:
    kernels = kernels_for(x.device, x.dtype)
    assert isinstance(kernels, ProcessorKernels)
    if not groups[0].norm.training:
        return kernels.inferred(x, blocks)
    drawn = []
    for group, block, shape in zip(groups, blocks, shapes(x, blocks), strict=True):
        drops = group.drops(kernels, x, shape.height, shape.width)
        drawn.append(block if drops is None else block._replace(drops=drops))
        if group.norm.counts:
            group.norm.num_batches_tracked += 1
    return kernels.chained(x, drawn)[0]


def one_by_one(calls: Iterable[Callable[[Any], Any]], x: Any) -> Any:
    for call in calls:
        x = call(x)
    return x
