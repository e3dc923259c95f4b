"""Fusing: blocks of a stacked network whose pooling, norm, ReLU and dropout become one operation.

A stack is fused after it is made, so names, parameters and buffers stay as they were; without kernels nothing changes.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn

from regulab.models.block import Block
from regulab.training.kernels.between import Between, Drops, infer
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
        x = self.conv(x).contiguous(memory_format=torch.channels_last)
        norm, pool = self.norm, 1 if isinstance(self.pool, nn.Identity) else 2
        assert isinstance(norm, StackedBatchNorm)
        kernel, runs = library(x.dtype), norm.running_mean.shape[0]
        assert kernel is not None
        assert norm.weight is not None
        assert norm.bias is not None
        gamma, beta = norm.weight.flatten(), norm.bias.flatten()
        mean, variance = norm.running_mean.flatten(), norm.running_var.flatten()  # views, updated in place
        if not self.training:
            with torch.no_grad():
                return infer(x, gamma, beta, mean, variance, kernel, runs, pool, norm.eps)
        y, batch_mean, batch_variance = Between.apply(
            x, gamma, beta, kernel, runs, pool, norm.eps, self._drops(x, pool)
        )
        values = y.numel() // y.shape[1]
        mean += norm.momentum * (batch_mean - mean)
        variance += norm.momentum * (values / (values - 1) * batch_variance - variance)
        return y

    def _drops(self, x: Tensor, pool: int) -> Drops | None:
        assert isinstance(self.dropout, StackedDropout)
        if not self.dropout.training or not any(self.dropout.rates):
            return None
        b, k, h, w = x.shape
        shape = torch.Size((b, k // len(self.dropout.rates), h // pool, w // pool))
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
