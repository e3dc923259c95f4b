"""The first block of a fleet on a GPU, in Triton: images are convolved and pooled where they are read.

cuDNN takes a grouped convolution with one input channel a group run by run, in its weights' gradient: 128 launches each
of four kernels, which were 70 % of a step of 128 runs (one H200, 2026-11-26). Here neither the convolved map nor its
gradient is ever written.
"""

from __future__ import annotations

import triton
import triton.language as tl

from regulab.training.kernels.gpu_maps import after_norm, store_strip


@triton.jit
def windows(image_p, image, rows, images, height, width, INPUTS: tl.constexpr):
    """Where the 4×4 pixels lie that decide a pooled place: images ``(I, INPUTS, B, H + 2, W + 2)``, a border of 0."""
    down, across = height // 2, width // 2
    first = (image * INPUTS * images + rows // (down * across)).to(tl.int64)
    return (
        image_p + (first * (height + 2) + 2 * ((rows // across) % down)) * (width + 2) + 2 * (rows % across)
    )


@triton.jit
def offsets(pixel, images, height, width):
    """Of each of a window's pixels, ``(inputs, 4, 4)`` in one row, from the first."""
    plane = images.to(tl.int64) * (height + 2) * (width + 2)
    return (pixel // 16) * plane + ((pixel % 16) // 4) * (width + 2) + pixel % 4


@triton.jit
def convolve(
    image_p, taps_p, y_p, won_p, mean_p, squares_p, N, K, images, height, width, sharing,
    C: tl.constexpr, INPUTS: tl.constexpr, P: tl.constexpr, CB: tl.constexpr, PIXELS: tl.constexpr,
    CHUNKS: tl.constexpr
):  # fmt: skip
    """3×3 convolution, padding 1, and the largest of each 2×2 window: of its pixels four products, one for each place.

    C columns together, of one run or of several that have the same images: ``sharing`` such groups take one image. Taps
    ``(groups, 4, PIXELS, C)`` in the images' type: each place's nine among the window's pixels, 0 elsewhere. PIXELS is
    a power of two, and those from INPUTS·16 on stay 0. With the `statistics` of what is written, a strip a program.
    """
    strips = tl.cdiv(N, P * CHUNKS)
    group, strip = tl.program_id(0) // strips, tl.program_id(0) % strips
    c, pixel = tl.arange(0, CB), tl.arange(0, PIXELS)
    own, start = c < C, strip * CHUNKS * P
    offset = offsets(pixel, images, height, width)[None, :]
    taps = taps_p + (group * 4 * PIXELS + pixel)[:, None] * C + c[None, :]
    taps_0 = tl.load(taps, mask=own[None, :], other=0.0)
    taps_1 = tl.load(taps + PIXELS * C, mask=own[None, :], other=0.0)
    taps_2 = tl.load(taps + 2 * PIXELS * C, mask=own[None, :], other=0.0)
    taps_3 = tl.load(taps + 3 * PIXELS * C, mask=own[None, :], other=0.0)
    total = tl.zeros([P, CB], tl.float32)
    squares = tl.zeros([P, CB], tl.float32)
    shift = tl.zeros([CB], tl.float32)
    for chunk in range(tl.minimum(CHUNKS, tl.cdiv(N - start, P))):
        rows = start + chunk * P + tl.arange(0, P)
        ok = rows < N
        corner = windows(image_p, group // sharing, rows, images, height, width, INPUTS)
        seen = ok[:, None] & (pixel < INPUTS * 16)[None, :]
        x = tl.load(corner[:, None] + offset, mask=seen, other=0.0)
        best = tl.dot(x, taps_0, input_precision="ieee")
        won = tl.zeros([P, CB], tl.int8)
        best, won = larger_of(best, won, tl.dot(x, taps_1, input_precision="ieee"), 1)
        best, won = larger_of(best, won, tl.dot(x, taps_2, input_precision="ieee"), 2)
        best, won = larger_of(best, won, tl.dot(x, taps_3, input_precision="ieee"), 3)
        at, there = rows[:, None].to(tl.int64) * K + group * C + c[None, :], ok[:, None] & own[None, :]
        rounded = best.to(y_p.dtype.element_ty)
        tl.store(y_p + at, rounded, mask=there)
        tl.store(won_p + at, won, mask=there)
        written = rounded.to(tl.float32)
        if chunk == 0:  # off the later ones, so that squares of large means do not cancel
            shift = tl.sum(tl.where(there, written, 0.0), 0) / tl.minimum(N - start, P)
        moved = tl.where(there, written - shift[None, :], 0.0)
        total += moved
        squares += moved * moved
    count = tl.minimum(N - start, CHUNKS * P).to(tl.float32)
    store_strip(mean_p, squares_p, strip, group * C + c, own, K, shift, total, squares, count)


@triton.jit
def larger_of(best, won, sums, place: tl.constexpr):
    """The larger of both, NaN where one is; and where it lies."""
    larger = (sums > best) | (sums != sums)
    return tl.where(larger, sums, best), tl.where(larger, place, won).to(tl.int8)


@triton.jit
def taps_gradient(
    image_p, x_p, grad_p, won_p, parts_p, sums_p, mean_p, variance_p, gamma_p, beta_p, eps, scale_p, kept_p, N, K,
    images, height, width, sharing, RUN: tl.constexpr, C: tl.constexpr, INPUTS: tl.constexpr, DROPS: tl.constexpr,
    P: tl.constexpr, CB: tl.constexpr, PIXELS: tl.constexpr, CHUNKS: tl.constexpr
):  # fmt: skip
    """The gradient of `convolve`'s taps from that of the block's output, ``(groups, 4, PIXELS, C)``: a part a strip.

    ``x`` is the pooled map; of C columns together RUN are a run's.
    """
    strips = tl.cdiv(N, P * CHUNKS)
    group, strip = tl.program_id(0) // strips, tl.program_id(0) % strips
    c, pixel, first = tl.arange(0, CB), tl.arange(0, PIXELS), group * C
    own = c < C
    of_gamma = tl.load(sums_p + first + c, mask=own, other=0.0) / N
    of_beta = tl.load(sums_p + K + first + c, mask=own, other=0.0) / N
    offset = offsets(pixel, images, height, width)[:, None]
    place_0 = tl.zeros([PIXELS, CB], tl.float32)
    place_1 = tl.zeros([PIXELS, CB], tl.float32)
    place_2 = tl.zeros([PIXELS, CB], tl.float32)
    place_3 = tl.zeros([PIXELS, CB], tl.float32)
    for chunk in range(tl.minimum(CHUNKS, tl.cdiv(N, P) - strip * CHUNKS)):
        rows = (strip * CHUNKS + chunk) * P + tl.arange(0, P)
        ok = rows < N
        at, there = rows[:, None].to(tl.int64) * K + first + c[None, :], ok[:, None] & own[None, :]
        x = tl.load(x_p + at, mask=there, other=0.0).to(tl.float32)
        grad = tl.load(grad_p + at, mask=there, other=0.0).to(tl.float32)
        g, hat, a = after_norm(
            x, grad, rows, first, mean_p, variance_p, gamma_p, beta_p, eps, scale_p, kept_p, N, K, own,
            RUN, DROPS, False, C % 8 == 0, P, CB
        )  # fmt: skip
        dx = tl.where(there, a[None, :] * (g - of_beta[None, :] - hat * of_gamma[None, :]), 0.0)
        dx = dx.to(image_p.dtype.element_ty)
        won = tl.load(won_p + at, mask=there, other=0)
        corner = windows(image_p, group // sharing, rows, images, height, width, INPUTS)
        seen = (pixel < INPUTS * 16)[:, None] & ok[None, :]
        pixels = tl.load(corner[None, :] + offset, mask=seen, other=0.0)
        none = tl.zeros_like(dx)
        place_0 += tl.dot(pixels, tl.where(won == 0, dx, none), input_precision="ieee")
        place_1 += tl.dot(pixels, tl.where(won == 1, dx, none), input_precision="ieee")
        place_2 += tl.dot(pixels, tl.where(won == 2, dx, none), input_precision="ieee")
        place_3 += tl.dot(pixels, tl.where(won == 3, dx, none), input_precision="ieee")
    part = parts_p + ((strip * (K // C) + group).to(tl.int64) * 4 * PIXELS + pixel)[:, None] * C + c[None, :]
    tl.store(part, place_0, mask=own[None, :])
    tl.store(part + PIXELS * C, place_1, mask=own[None, :])
    tl.store(part + 2 * PIXELS * C, place_2, mask=own[None, :])
    tl.store(part + 3 * PIXELS * C, place_3, mask=own[None, :])
