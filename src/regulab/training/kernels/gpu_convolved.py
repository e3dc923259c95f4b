"""The first block of a fleet on a GPU, from images to its output, its convolution too: by `gpu_images`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regulab.training.kernels import gpu_images
from regulab.training.kernels.gpu_passes import (
    HashedDrops,
    NormOfMap,
    Pair,
    empty,
    gradient_sums,
    joined,
    normalized,
)
from regulab.training.kernels.gpu_tiles import power, sharing_images, tiles

PLACES = [(0, 0), (0, 1), (1, 0), (1, 1)]  # of a 2×2 window, down and across


@dataclass(frozen=True)
class PaddedImages:
    """With a border of 0, ``(I, inputs, B, H + 2, W + 2)``, and how runs go with them.

    ``together`` runs are convolved at once, as one of ``together`` times the channels; ``sharing`` such groups take
    one image each.
    """

    pixels: Tensor
    together: int
    sharing: int

    @classmethod
    def of(cls, x: Tensor, runs: int, per_image: int, channels: int) -> PaddedImages:
        """Of ``x`` ``(B, R·inputs, H, W)``, of which each ``per_image`` runs side by side have the same."""
        b, _, h, w = x.shape
        inputs, different = x.shape[1] // runs, runs // per_image
        pixels = x.new_zeros(different, inputs, b, h + 2, w + 2)
        seen = x.view(b, different, per_image, inputs, h, w)[:, :, 0]
        pixels[..., 1:-1, 1:-1] = seen.permute(1, 2, 0, 3, 4)
        together = sharing_images(per_image, channels, tiles().group_columns)
        return cls(pixels, together, per_image // together)

    @property
    def inputs(self) -> int:
        return self.pixels.shape[1]

    @property
    def window(self) -> int:
        """Pixels of a window, rounded up to a power of two."""
        return power(self.inputs * 16)

    def sizes(self) -> tuple[int, int, int, int]:
        """How many images of each, their height and width, and ``sharing``: what kernels are called with."""
        _, _, images, height, width = self.pixels.shape
        return images, height - 2, width - 2, self.sharing


class ConvolvedOnGpu(torch.autograd.Function):
    """A 3×3 convolution, padding 1, without bias, of images that want no gradient; pooling, and `BetweenOnGpu`.

    ``x`` is ``(B, R·inputs, H, W)`` with one or three channels a run, ``weight`` ``(R, C, inputs, 3, 3)`` in the
    parameters' type, rounded to that of ``x`` for the products; products and sums are float32. Each ``per_image`` runs
    side by side have the same images.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        eps: float,
        drops: HashedDrops | None,
        per_image: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        runs, channels = weight.shape[:2]
        with torch.cuda.device_of(x):
            images = PaddedImages.of(x, runs, per_image, channels)
            y, won, (mean, variance) = convolved(images, weight)
            norm = NormOfMap.of(y, runs, (mean, variance), (gamma, beta), eps, False, drops)
            out = normalized(y, norm)
        ctx.save_for_backward(y, won)
        ctx.norm, ctx.images, ctx.weight = norm, images, weight.shape
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        (y, won), norm = ctx.saved_tensors, ctx.norm
        with torch.cuda.device_of(y):
            grad = grad.contiguous(memory_format=torch.channels_last)
            sums = gradient_sums(y, grad, norm)
            taps = taps_gradient(ctx.images, y, won, grad, sums, norm)
        return None, taps.reshape(ctx.weight), sums[0], sums[1], None, None, None


def convolved(images: PaddedImages, weight: Tensor) -> tuple[Tensor, Tensor, Pair]:
    """The pooled map ``(B, R·C, H/2, W/2)``, which of each window won, and μ and σ² of its columns."""
    (b, h, w, sharing), pixels = images.sizes(), images.pixels
    runs, channels, inputs = weight.shape[:3]
    groups, wide = runs // images.together, images.together * channels
    taps = pixels.new_zeros(groups, 4 * images.window, wide)
    each = weight.reshape(groups, wide, inputs, 3, 3).permute(0, 2, 3, 4, 1)
    for row, column in PLACES:
        _by_place(taps, inputs)[:, row, column, :, row : row + 3, column : column + 3] = each
    size = (b, runs * channels, h // 2, w // 2)
    y = torch.empty(size, dtype=pixels.dtype, device=pixels.device, memory_format=torch.channels_last)
    won, chosen = torch.empty(y.numel(), dtype=torch.int8, device=y.device), tiles()
    tall, across, warps = chosen.of_images(wide, chosen.image_elements)
    places, strip = b * (h // 2) * (w // 2), tall * chosen.image_strip
    strips = -(-places // strip)
    parts = empty(y, (2, strips, runs * channels))
    gpu_images.convolve[(groups * strips,)](
        pixels, taps, y, won, parts[0], parts[1], places, runs * channels, b, h, w, sharing, wide, inputs,
        tall, across, images.window, chosen.image_strip, num_warps=warps,
    )  # fmt: skip
    return y, won, joined(parts, places, strip)


def taps_gradient(
    images: PaddedImages, y: Tensor, won: Tensor, grad: Tensor, sums: Tensor, norm: NormOfMap
) -> Tensor:
    """The gradient of the weights, ``(groups, together·C, inputs, 3, 3)``, of what `convolved` gave."""
    wide, chosen = images.together * norm.channels, tiles()
    groups = norm.columns // wide
    tall, across, warps = chosen.of_images(wide, chosen.gradient_elements)
    strips = -(-norm.places // (tall * chosen.gradient_strip))
    parts = empty(y, (strips, groups, 4 * images.window, wide))
    gpu_images.taps_gradient[(groups * strips,)](
        images.pixels, y, grad, won, parts, sums, *norm.arguments(), norm.places, norm.columns, *images.sizes(),
        norm.channels, wide, images.inputs, norm.drops, tall, across, images.window, chosen.gradient_strip,
        num_warps=warps,
    )  # fmt: skip
    places = _by_place(parts.sum(0), images.inputs)
    first, *others = (places[:, row, column, :, row : row + 3, column : column + 3] for row, column in PLACES)
    return sum(others, first).permute(0, 4, 1, 2, 3)


def _by_place(taps: Tensor, inputs: int) -> Tensor:
    """A view of ``(G, 4·pixels, C)`` as ``(G, 2, 2, inputs, 4, 4, C)``: for each place of a 2×2 window its pixels."""
    groups, pixels, channels = taps.shape
    of_places = taps.view(groups, 2, 2, pixels // 4, channels)[:, :, :, : inputs * 16]
    return of_places.view(groups, 2, 2, inputs, 4, 4, channels)
