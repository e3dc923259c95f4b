"""Blocks of a fleet with their convolutions, one after another, as one operation.

Between two blocks no activation is written: each reads what the convolution before it left, and normalizes it as it
lays out what it convolves. The kernels are those of `chain.h`; the plain layers are the reference that they must equal.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regulab.training.kernels.blocks import IMAGE_CHANNELS, BlockOf, Drops, Shape, pointer

FLOAT = 4  # bytes
OWN = 4  # tensors of a block that get gradients: weight, bias, γ, β


class ConvolvedBlock(NamedTuple):
    """A 3×3 convolution and all that follows it, as in `Between`.

    ``weight`` ``(R, C, inputs, 3, 3)``, ``bias``, γ and β ``(R·C,)``, all float32; ``padding`` 0 or 1. ``statistics``
    are the running ones, μ and σ² ``(R·C,)``: what inference takes, and what training brings up to date with
    ``momentum``, if they are given. ``drops`` are the draws of a step, None where nothing is dropped.
    """

    weight: Tensor
    bias: Tensor | None
    gamma: Tensor
    beta: Tensor
    pool: int
    eps: float
    before: bool = False
    padding: int = 1
    drops: Drops | None = None
    statistics: tuple[Tensor, Tensor] | None = None
    momentum: float = 0.0

    def settings(self) -> Settings:
        return *self.weight.shape[:3], self.pool, self.before, self.padding


Settings = tuple[int, int, int, int, bool, int]  # runs, channels, inputs, pool, before, padding


def shapes(x: Tensor, blocks: Sequence[ConvolvedBlock]) -> tuple[Shape, ...]:
    """Of each block, for a map ``(B, R·inputs, H, W)`` that enters the first."""
    return _shapes(x.shape, tuple(block.settings() for block in blocks))


@lru_cache(256)
def _shapes(entering: torch.Size, blocks: tuple[Settings, ...]) -> tuple[Shape, ...]:
    found: list[Shape] = []
    images, _, h, w = entering
    for runs, channels, inputs, pool, before, padding in blocks:
        less = 2 - 2 * padding
        found.append(Shape(images, h - less, w - less, runs, channels, pool, inputs, before, padding))
        h, w = found[-1].pooled[2:]
    return tuple(found)


def joins(x: Tensor, kernel: ctypes.CDLL, blocks: Sequence[ConvolvedBlock]) -> int:
    """How many of the first blocks the kernels take as one chain of a map ``(B, R·inputs, H, W)``."""
    return _joins(x.shape, kernel, tuple(block.settings() for block in blocks), x.requires_grad)


@lru_cache(256)
def _joins(
    entering: torch.Size, kernel: ctypes.CDLL, blocks: tuple[Settings, ...], wants_gradient: bool
) -> int:
    count, enters, runs = 0, entering[1], blocks[0][0] if blocks else 0
    for shape in _shapes(entering, blocks):
        b, k, h, w = shape.pooled
        fits = (shape.runs, shape.runs * shape.inputs) == (runs, enters) and min(h, w) > 0 and b * h * w > 1
        of_image = count == 0 and not wants_gradient and _of_image(shape) and shape.padding in (0, 1)
        if not fits or not (of_image or kernel.convolves(ctypes.byref(shape))):
            break
        count, enters = count + 1, k
    return count


def _of_image(shape: Shape) -> bool:
    """Whether the first block has a kernel of its own, if nobody asks for its input's gradient."""
    return shape.inputs in IMAGE_CHANNELS


class Chain(torch.autograd.Function):
    """``(B, R·inputs, H, W)``, channels-last, through blocks, as many as `joins` says.

    Products are of float32 or bfloat16 numbers, as maps are, the weights rounded to that; sums float32; the map before
    each norm is rounded to the type of maps. Gives y of the last block, and μ and σ² (biased) of each after another.
    """

    reads_channels_last = True

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: ctypes.CDLL, blocks: Sequence[ConvolvedBlock], *own: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        array, ctx.kept = _blocks(x, blocks, own, of_images=not ctx.needs_input_grad[0])
        sizes = [block.shape.pooled for block in array]
        statistics = torch.empty(2 * sum(size[1] for size in sizes), dtype=torch.float32)
        at, maps = statistics.data_ptr(), []
        for block, given, (b, k, h, w) in zip(array, blocks, sizes, strict=True):
            p = torch.empty((b, h, w, k), dtype=x.dtype)
            won = torch.empty((b, h, w, k), dtype=torch.uint8) if given.pool == 2 else None
            block.mean, block.variance, at = at, at + FLOAT * k, at + 2 * FLOAT * k
            block.point(p=p, won=won)
            if given.statistics is not None:
                block.momentum = given.momentum
                block.point(running_mean=given.statistics[0], running_variance=given.statistics[1])
            maps += [p, won]
        y = _forward(x, kernel, array, training=True)
        ctx.save_for_backward(x, statistics, *own, *maps)
        ctx.kernel, ctx.array = kernel, array
        ctx.mark_non_differentiable(statistics)
        return y, statistics

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, _, *saved = ctx.saved_tensors
        array = ctx.array
        grads = [None if t is None else torch.empty_like(t) for t in saved[: OWN * len(array)]]
        for place, block in enumerate(array):
            dweight, dbias, dgamma, dbeta = grads[OWN * place : OWN * (place + 1)]
            block.point(dweight=dweight, dbias=dbias, dgamma=dgamma, dbeta=dbeta)
        wanted = ctx.needs_input_grad[0]
        dx = torch.empty_like(x, memory_format=torch.channels_last) if wanted else None
        grad = grad.contiguous(memory_format=torch.channels_last)
        given = (ctypes.c_int64(len(array)), pointer(grad), pointer(x), pointer(dx))
        if ctx.kernel.backward_chain(ctypes.byref(array), *given):
            raise MemoryError
        return dx, None, None, *grads


def chained(x: Tensor, kernel: ctypes.CDLL, blocks: Sequence[ConvolvedBlock]) -> tuple[Tensor, Tensor]:
    """`Chain` of blocks."""
    x = x.contiguous(memory_format=torch.channels_last)
    y, statistics = Chain.apply(x, kernel, tuple(blocks), *_own(blocks))  # type: ignore[no-untyped-call]  # torch types no apply
    return y, statistics


def of_each(statistics: Tensor, blocks: Sequence[ConvolvedBlock]) -> list[Tensor]:
    """μ and σ² of each block in turn."""
    return list(statistics.split([size for block in blocks for size in [block.gamma.numel()] * 2]))


def inferred(x: Tensor, kernel: ctypes.CDLL, blocks: Sequence[ConvolvedBlock]) -> Tensor:
    """Inference: each block's ``statistics`` in the place of μ and σ², no dropout, no gradient."""
    x = x.contiguous(memory_format=torch.channels_last)
    own = _own(blocks)
    array, kept = _blocks(x, blocks, own, of_images=True)  # noqa: RUF059  (it lives until the kernel has read it)
    for block, given in zip(array, blocks, strict=True):
        assert given.statistics is not None
        block.point(mean=given.statistics[0], variance=given.statistics[1])
    return _forward(x, kernel, array, training=False)


def _own(blocks: Sequence[ConvolvedBlock]) -> list[Tensor | None]:
    """The tensors of all blocks that get gradients, in memory as the kernels read them."""
    own = [t for block in blocks for t in (block.weight, block.bias, block.gamma, block.beta)]
    assert all(t is None or t.dtype == torch.float32 for t in own), "the kernels read float32"
    return [None if t is None else t.contiguous() for t in own]


def _blocks(
    x: Tensor, blocks: Sequence[ConvolvedBlock], own: Sequence[Tensor | None], of_images: bool
) -> tuple[Any, Any]:
    """An array of blocks with all that is known before the kernel is called, and what must live as long.

    ``of_images``: whether the first may take images that get no gradient.
    """
    array, kept = (BlockOf * len(blocks))(), []
    for place, (block, given, shape) in enumerate(zip(array, blocks, shapes(x, blocks), strict=True)):
        weight, bias, gamma, beta = own[OWN * place : OWN * (place + 1)]
        block.shape, block.eps, block.image = shape, given.eps, of_images and place == 0 and _of_image(shape)
        block.point(weight=weight, bias=bias, gamma=gamma, beta=beta)
        kept.append(block.drop(given.drops))
    return array, kept


def _forward(x: Tensor, kernel: ctypes.CDLL, array: Any, training: bool) -> Tensor:
    y = torch.empty(array[-1].shape.pooled, dtype=x.dtype, memory_format=torch.channels_last)
    given = (ctypes.c_int64(len(array)), ctypes.c_int(training), pointer(x), pointer(y))
    if kernel.forward_chain(ctypes.byref(array), *given):
        raise MemoryError
    return y
