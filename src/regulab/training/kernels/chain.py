"""Blocks of a fleet with their convolutions, one after another, as one operation.

Between two blocks no activation is written: each reads what the convolution before it left, and normalizes it as it
lays out what it convolves. The kernels are those of `chain.h`; the plain layers are the reference that they must equal.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regulab.training.kernels.blocks import IMAGE_CHANNELS, BlockOf, Drops, Shape, pointer

OWN = 4  # tensors of a block that get gradients: weight, bias, γ, β


@dataclass(frozen=True)
class ConvolvedBlock:
    """A 3×3 convolution and all that follows it, as in `Between`.

    ``weight`` ``(R, C, inputs, 3, 3)``, ``bias``, γ and β ``(R·C,)``, all float32; ``padding`` 0 or 1; ``statistics``
    the running ones, for inference; ``drops`` the draws of a step, None where nothing is dropped.
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

    def dropping(self, drops: Drops | None) -> ConvolvedBlock:
        return replace(self, drops=drops)

    def shape(self, images: int, height: int, width: int) -> Shape:
        """For a map of this height and width."""
        runs, channels, inputs = self.weight.shape[:3]
        less = 2 - 2 * self.padding
        sizes = (images, height - less, width - less, runs, channels)
        return Shape(*sizes, self.pool, inputs, self.before, self.padding)


def shapes(x: Tensor, blocks: Sequence[ConvolvedBlock]) -> list[Shape]:
    """Of each block, for a map ``(B, R·inputs, H, W)`` that enters the first."""
    found: list[Shape] = []
    b, _, h, w = x.shape
    for block in blocks:
        found.append(block.shape(b, h, w))
        h, w = found[-1].pooled[2:]
    return found


def convolves(kernel: ctypes.CDLL, shape: Shape, of_image: bool) -> bool:
    """Whether the kernels convolve a block of this shape; ``of_image``: its input gets no gradient."""
    if min(shape.pooled[2:]) < 1:
        return False
    if of_image and shape.inputs in IMAGE_CHANNELS:
        return shape.padding in (0, 1)
    return bool(kernel.convolves(ctypes.byref(shape)))


def joins(x: Tensor, kernel: ctypes.CDLL, blocks: Sequence[ConvolvedBlock]) -> int:
    """How many of the first blocks the kernels take as one chain of a map ``(B, R·inputs, H, W)``."""
    count, enters, runs = 0, x.shape[1], blocks[0].weight.shape[0] if blocks else 0
    for shape in shapes(x, blocks):
        of_image = count == 0 and not x.requires_grad
        fits = (shape.runs, shape.runs * shape.inputs) == (runs, enters)
        if not fits or not convolves(kernel, shape, of_image):
            break
        count, enters = count + 1, shape.runs * shape.channels
    return count


class Chain(torch.autograd.Function):
    """``(B, R·inputs, H, W)``, channels-last, through blocks, each of which a block's `convolves` must have taken.

    Products are of float32 or bfloat16 numbers, as maps are, the weights rounded to that; sums float32; the map before
    each norm is rounded to the type of maps. Gives y of the last block, then μ and σ² (biased) of each, ``(R·C,)``.
    """

    reads_channels_last = True

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: ctypes.CDLL, settings: Sequence[ConvolvedBlock], *own: Tensor | None
    ) -> tuple[Tensor, ...]:
        array, ctx.kept = _blocks(x, settings, own, of_images=not ctx.needs_input_grad[0])
        statistics, saved = [], []
        for block in array:
            b, k, h, w = block.shape.pooled
            mean, variance = (torch.empty(k, dtype=torch.float32) for _ in "mv")
            p = torch.empty((b, h, w, k), dtype=x.dtype)
            won = torch.empty(p.shape if block.shape.pool == 2 else 0, dtype=torch.uint8)
            block.point(mean=mean, variance=variance, p=p, won=won)
            statistics += [mean, variance]
            saved += [mean, variance, p, won]
        y = _forward(x, kernel, array, training=True)
        ctx.save_for_backward(x, *own, *saved)
        ctx.kernel, ctx.array = kernel, array
        ctx.mark_non_differentiable(*statistics)
        return y, *statistics

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        array, grads = ctx.array, []
        for place, block in enumerate(array):
            own = [None if t is None else torch.empty_like(t) for t in saved[OWN * place : OWN * (place + 1)]]
            block.point(**dict(zip(("dweight", "dbias", "dgamma", "dbeta"), own, strict=True)))
            grads += own
        wanted = ctx.needs_input_grad[0]
        dx = torch.empty_like(x, memory_format=torch.channels_last) if wanted else None
        grad = grad.contiguous(memory_format=torch.channels_last)
        given = (ctypes.c_int64(len(array)), pointer(grad), pointer(x), pointer(dx))
        if ctx.kernel.backward_chain(ctypes.byref(array), *given):
            raise MemoryError
        return dx, None, None, *grads


def chained(x: Tensor, kernel: ctypes.CDLL, blocks: Sequence[ConvolvedBlock]) -> tuple[Tensor, ...]:
    """`Chain` of blocks: y, then μ and σ² of each."""
    own = _own(blocks)
    x = x.contiguous(memory_format=torch.channels_last)
    outputs: tuple[Tensor, ...] = Chain.apply(x, kernel, tuple(blocks), *own)  # type: ignore[no-untyped-call]  # torch types no apply
    return outputs


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
    x: Tensor, settings: Sequence[ConvolvedBlock], own: Sequence[Tensor | None], of_images: bool
) -> tuple[Any, Any]:
    """An array of blocks with all that is known before the kernel is called, and what must live as long.

    ``of_images``: whether the first may take images that get no gradient.
    """
    array, kept = (BlockOf * len(settings))(), []
    for place, (block, given, shape) in enumerate(zip(array, settings, shapes(x, settings), strict=True)):
        weight, bias, gamma, beta = own[OWN * place : OWN * (place + 1)]
        block.shape, block.eps = shape, given.eps
        block.image = of_images and place == 0 and shape.inputs in IMAGE_CHANNELS
        block.point(weight=weight, bias=bias, gamma=gamma, beta=beta)
        kept.append(block.drop(given.drops))
    return array, kept


def _forward(x: Tensor, kernel: ctypes.CDLL, array: Any, training: bool) -> Tensor:
    y = torch.empty(array[-1].shape.pooled, dtype=x.dtype, memory_format=torch.channels_last)
    given = (ctypes.c_int64(len(array)), ctypes.c_int(training), pointer(x), pointer(y))
    if kernel.forward_chain(ctypes.byref(array), *given):
        raise MemoryError
    return y
