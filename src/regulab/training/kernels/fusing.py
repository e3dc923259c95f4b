"""Fusing: consecutive layers of a stacked network, from a convolution to ReLU or dropout, become one operation.

They are found in regulab's own blocks, of residual ones in the first half, and in any `nn.Sequential` of a person's
network. A stack is fused after it is made, so names, parameters and buffers stay as they were; without kernels nothing
changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.layers.block import Block
from regulab.models.layers.residual import BasicBlock
from regulab.models.stacking import StackedBatchNorm, StackedConv2d, StackedDropout
from regulab.models.stacking.followed import PASS
from regulab.models.stacking.pending import halves
from regulab.models.stacking.run_tensor import RunTensor
from regulab.training.kernels.choice import missing
from regulab.training.kernels.fused_layers import FusedLayers, in_turn, one_by_one


class FusedBlock(nn.Module):
    """A stacked `Block` as `FusedLayers`, under the names that its layers had."""

    def __init__(self, block: Block, fused: FusedLayers) -> None:
        super().__init__()
        self.conv, self.pool, self.norm, self.dropout = block.conv, block.pool, block.norm, block.dropout
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        return self.fused(x)


class FusedResidual(nn.Module):
    """A stacked `BasicBlock` whose first half, to dropout, runs as `FusedLayers`, under the names that its layers had.

    After the second half comes the sum with the shortcut, for which there is no kernel.
    """

    def __init__(self, block: BasicBlock, fused: FusedLayers) -> None:
        super().__init__()
        self.conv1, self.bn1, self.dropout = block.conv1, block.bn1, block.dropout
        self.conv2, self.bn2, self.drop_path = block.conv2, block.bn2, block.drop_path
        self.downsample = block.downsample
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.drop_path(self.bn2(self.conv2(self.fused(x)))) + self.downsample(x))


class FusedSequential(nn.Sequential):
    """A stacked `nn.Sequential` that, called as a whole, runs as `FusedLayers` what it can of its layers.

    They remain its children: a person's forward pass may as well index, slice or replace them, or hang hooks on them.
    So what runs fused is found anew in every call, which takes microseconds.
    """

    def forward(self, input: Any) -> Any:
        if isinstance(input, RunTensor) and input.of.together is not None:
            return one_by_one(self, input)  # layers that wait are fused with those before and behind, too
        return in_turn(list(parts(self)), input)


def parts(sequential: Iterable[nn.Module]) -> Iterator[Callable[[Any], Any]]:
    """What a stacked `nn.Sequential` calls in turn: its layers, with consecutive ones fused where possible.

    Of fused blocks, and of such sequentials within it, their groups of layers, so that these run as one chain.
    """
    layers = list(sequential)
    while layers:
        first = layers[0]
        if type(first) is FusedBlock and not _has_hooks(first):
            yield first.fused
        elif type(first) is FusedSequential and not _has_hooks(first):
            yield from parts(first)
        elif (fused := leading(layers)) is not None:
            yield fused
            del layers[: len(fused.layers) - 1]
        else:
            yield first
        del layers[0]


def leading(layers: Sequence[nn.Module]) -> FusedLayers | None:
    """The first of ``layers`` for which there is a kernel, as one; None where it starts with others."""
    relu_first = False
    match layers:
        case [StackedConv2d() as conv, StackedBatchNorm() as norm, nn.ReLU(), *rest]:
            pool = 1
        case [StackedConv2d() as conv, nn.ReLU(), StackedBatchNorm() as norm, *rest]:
            pool, relu_first = 1, True
        case [
            StackedConv2d() as conv,
            nn.MaxPool2d() as pooling,
            StackedBatchNorm() as norm,
            nn.ReLU(),
            *rest,
        ] if halves(pooling):
            pool = 2
        case _:
            return None
    dropout = rest[0] if rest and isinstance(rest[0], StackedDropout) else None
    row = layers[: len(layers) - len(rest) + (dropout is not None)]
    if norm.weight is None or norm.bias is None or any(_has_hooks(layer) for layer in row):
        return None
    return FusedLayers(row, conv, pool, norm, dropout, relu_first)


def _has_hooks(layer: nn.Module) -> bool:
    """Whether somebody looks in when the layer is called, who would miss its call."""
    return bool(
        layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    )


def _of_residual(block: BasicBlock) -> FusedLayers | None:
    """The first half of a stacked residual block, if its norm is batch norm and its dropout is ours."""
    layers = [block.conv1, block.bn1, nn.ReLU(), block.dropout]
    fused = None if _has_hooks(block) else leading(layers)
    return fused if fused is not None and len(fused.layers) == len(layers) else None


def _of_block(block: Block) -> FusedLayers | None:
    """All the layers of a stacked block, if its norm is batch norm and stands before ReLU."""
    if block.norm_after or _has_hooks(block):
        return None
    pooling = [] if isinstance(block.pool, nn.Identity) else [block.pool]
    layers = [block.conv, *pooling, block.norm, nn.ReLU(), block.dropout]
    fused = leading(layers)
    # An edit may have put another layer in the place of dropout, which no kernel knows.
    return fused if fused is not None and len(fused.layers) == len(layers) else None


def fuse(stack: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The stack with what can be fused, in place; as it is where there are no kernels for ``dtype`` on its device.

    An `nn.Sequential` changes its class and nothing else, so that hooks and a forward pass of its own stay; classes
    derived from it are left alone.
    """
    device = next((p.device for p in stack.parameters()), torch.device("cpu"))
    if missing(device, dtype) is not None:
        return stack
    fused = _fuse(stack)
    if (of := vars(stack).get(PASS)) is not None:
        of.together = _together
    return fused


def _together(layers: Sequence[nn.Module], x: Tensor) -> Any:
    """Layers that a followed network's code called one after another."""
    return in_turn(list(parts(layers)), x)


def _fuse(stack: nn.Module) -> nn.Module:
    for name, child in stack.named_children():
        if type(child) is Block and (fused := _of_block(child)) is not None:
            setattr(stack, name, FusedBlock(child, fused))
        elif type(child) is BasicBlock and (half := _of_residual(child)) is not None:
            setattr(stack, name, FusedResidual(child, half))
        else:
            _fuse(child)
    if type(stack) is nn.Sequential and any(isinstance(part, FusedLayers) for part in parts(stack)):
        stack.__class__ = FusedSequential
    return stack
