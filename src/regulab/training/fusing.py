"""Fusing: blocks of a stacked network whose pooling, norm, ReLU and dropout become one operation.

A stack is fused after it is made, so names, parameters and buffers stay as they were; without kernels nothing changes.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn

from regulab.models.block import Block
from regulab.training.kernels.between import Between, Convolved, Drops, convolves, infer
from regulab.training.kernels.build import library
from regulab.training.stacking import StackedBatchNorm, StackedDropout


class FusedBlock(nn.Module):
    """A stacked `Block`: its convolution, then `Between`; equal to it but for rounding."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        assert fusable(block)
        self.conv, self.pool, self.norm, self.dropout = block.conv, block.pool, block.norm, block.dropout

    def forward(self, x: Tensor) -> Tensor:
        """``(B, R·C, H, W)`` to ``(B, R·O, H, W)``, or half the height and width where pooled."""
        norm, pool = self.norm, 1 if isinstance(self.pool, nn.Identity) else 2
        assert isinstance(norm, StackedBatchNorm)
        assert norm.weight is not None
        assert norm.bias is not None
        kernel, runs = library(x.dtype), norm.running_mean.shape[0]
        assert kernel is not None
        weight = self.conv.weight if self._joins(x, pool) else None
        if weight is None:
            x = self.conv(x).contiguous(memory_format=torch.channels_last)
        gamma, beta = norm.weight.flatten(), norm.bias.flatten()
        mean, variance = norm.running_mean.flatten(), norm.running_var.flatten()  # views, updated in place
        if not self.training:
            with torch.no_grad():
                return infer(x, weight, gamma, beta, (mean, variance), kernel, runs, pool, norm.eps)
        drops = self._drops(x, pool)
        if weight is None:
            y, center, spread = Between.apply(x, gamma, beta, kernel, runs, pool, norm.eps, drops)
        else:
            y, center, spread = Convolved.apply(x, weight, gamma, beta, kernel, pool, norm.eps, drops)
        values = y.numel() // y.shape[1]
        mean += norm.momentum * (center - mean)
        variance += norm.momentum * (values / (values - 1) * spread - variance)
        return y

    def _joins(self, x: Tensor, pool: int) -> bool:
        """Whether the kernel does the convolution too."""
        return self.conv.bias is None and convolves(x, self.conv.weight, pool)

    def _drops(self, x: Tensor, pool: int) -> Drops | None:
        assert isinstance(self.dropout, StackedDropout)
        if not self.dropout.training or not any(self.dropout.rates):
            return None
        b, _, h, w = x.shape
        shape = torch.Size((b, self.conv.weight.shape[1], h // pool, w // pool))
        return Drops(self.dropout.drawn(shape), self.dropout.rates)


def fusable(block: nn.Module) -> TypeGuard[Block]:
    """Whether this is a stacked block of the kind there is a kernel for: batch norm, with γ and β, before ReLU."""
    return (
        isinstance(block, Block)
        and not block.norm_after
        and isinstance(block.norm, StackedBatchNorm)
        and block.norm.weight is not None
        and not block.norm.counts
    )


def fuse(stack: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The stack with its fusable blocks fused, in place; as it is where there are no kernels for ``dtype``."""
    if library(dtype) is None or library(torch.float32) is None:
        return stack
    for name, child in stack.named_children():
        if fusable(child):
            setattr(stack, name, FusedBlock(child))
        else:
            fuse(child, dtype)
    return stack
