"""The first block of a fleet on a GPU, in Triton: images are convolved and pooled where they are read.

cuDNN takes a grouped convolution with one input channel a group run by run, in its weights' gradient: 128 launches each
of four kernels, which were 70 % of a step of 128 runs (one H200, 2026-11-26). Here neither the convolved map nor its
gradient is ever written.
"""

from __future__ import annotations

import triton
import triton.language as tl

from regulab.training.kernels.gpu_maps import after_norm


@triton.jit
def windows(image_p, run, rows, images, height, width, INPUTS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where the 4×4 pixels lie that decide a pooled place: images ``(R, INPUTS, B, H + 2, W + 2)``, a border of 0."""
    down, across = height // 2, width // 2
    image = (run * INPUTS * images + rows // (down * across)).to(tl.int64)
    return (
        image_p + (image * (height + 2) + 2 * ((rows // across) % down)) * (width + 2) + 2 * (rows % across)
    )


@triton.jit
def convolve(  # type: ignore[no-untyped-def]
    image_p, taps_p, y_p, won_p, N, K, images, height, width,
    C: tl.constexpr, INPUTS: tl.constexpr, P: tl.constexpr, CB: tl.constexpr
):  # fmt: skip
    """3×3 convolution, padding 1, and the largest of each 2×2 window. Taps ``(R, INPUTS·9, C)`` float32."""
    strips = tl.cdiv(N, P)
    run = tl.program_id(0) // strips
    rows, c = (tl.program_id(0) % strips) * P + tl.arange(0, P), tl.arange(0, CB)
    ok, own = rows < N, c < C
    corner = windows(image_p, run, rows, images, height, width, INPUTS)
    taps = taps_p + run * INPUTS * 9 * C + c
    a = tl.zeros([P, CB], tl.float32)
    b = tl.zeros([P, CB], tl.float32)
    d = tl.zeros([P, CB], tl.float32)
    e = tl.zeros([P, CB], tl.float32)
    for i in tl.static_range(INPUTS):
        channel = corner + i * images.to(tl.int64) * (height + 2) * (width + 2)
        for v in tl.static_range(4):
            for h in tl.static_range(4):  # each pixel is read once, and belongs to up to four places
                x = tl.load(channel + v * (width + 2) + h, mask=ok, other=0.0).to(tl.float32)[:, None]
                at = taps + (i * 9 + v * 3 + h) * C
                if v < 3 and h < 3:
                    a += x * tl.load(at, mask=own, other=0.0)[None, :]
                if v < 3 and h > 0:
                    b += x * tl.load(at - C, mask=own, other=0.0)[None, :]
                if v > 0 and h < 3:
                    d += x * tl.load(at - 3 * C, mask=own, other=0.0)[None, :]
                if v > 0 and h > 0:
                    e += x * tl.load(at - 4 * C, mask=own, other=0.0)[None, :]
    won = tl.zeros([P, CB], tl.int8)
    larger = (b > a) | (b != b)
    won, a = tl.where(larger, 1, won).to(tl.int8), tl.where(larger, b, a)
    larger = (d > a) | (d != d)
    won, a = tl.where(larger, 2, won).to(tl.int8), tl.where(larger, d, a)
    larger = (e > a) | (e != e)
    won, a = tl.where(larger, 3, won).to(tl.int8), tl.where(larger, e, a)
    at = rows[:, None].to(tl.int64) * K + run * C + c[None, :]
    tl.store(y_p + at, a.to(y_p.dtype.element_ty), mask=ok[:, None] & own[None, :])
    tl.store(won_p + at, won, mask=ok[:, None] & own[None, :])


@triton.jit
def taps_gradient(  # type: ignore[no-untyped-def]
    image_p, x_p, grad_p, won_p, dtaps_p, sums_p, mean_p, variance_p, gamma_p, beta_p, eps,
    scale_p, keys_p, step_p, seed_p, low_p, N, K, images, height, width, C: tl.constexpr, INPUTS: tl.constexpr,
    DROPS: tl.constexpr, P: tl.constexpr, CB: tl.constexpr, TAPS: tl.constexpr, CHUNKS: tl.constexpr
):  # fmt: skip
    """The gradient of `convolve`'s taps from that of the block's output, a part for each strip: ``(strips, R, TAPS, C)``.

    ``x`` is the pooled map. TAPS is a power of two, and those from INPUTS·9 on stay 0.
    """
    strips = tl.cdiv(N, P * CHUNKS)
    run, strip = tl.program_id(0) // strips, tl.program_id(0) % strips
    c, t = tl.arange(0, CB), tl.arange(0, TAPS)
    own, first = c < C, run * C
    of_gamma = tl.load(sums_p + first + c, mask=own, other=0.0) / N
    of_beta = tl.load(sums_p + K + first + c, mask=own, other=0.0) / N
    plane = images.to(tl.int64) * (height + 2) * (width + 2)
    place_of_tap = (t // 9) * plane + ((t % 9) // 3) * (width + 2) + t % 3
    total = tl.zeros([TAPS, CB], tl.float32)
    for chunk in range(tl.minimum(CHUNKS, tl.cdiv(N, P) - strip * CHUNKS)):
        rows = (strip * CHUNKS + chunk) * P + tl.arange(0, P)
        ok = rows < N
        at, there = rows[:, None].to(tl.int64) * K + first + c[None, :], ok[:, None] & own[None, :]
        x = tl.load(x_p + at, mask=there, other=0.0).to(tl.float32)
        grad = tl.load(grad_p + at, mask=there, other=0.0).to(tl.float32)
        won = tl.load(won_p + at, mask=there, other=0)
        g, hat, a = after_norm(
            x, grad, rows, first, mean_p, variance_p, gamma_p, beta_p, eps, scale_p, keys_p, step_p, seed_p, low_p, N, K,
            own, C, DROPS, False, P, CB
        )  # fmt: skip
        dx = a[None, :] * (g - of_beta[None, :] - hat * of_gamma[None, :])
        dx = tl.where(there, dx, 0.0).to(x_p.dtype.element_ty)
        corner = windows(image_p, run, rows, images, height, width, INPUTS)
        seen = (t < INPUTS * 9)[:, None] & ok[None, :]
        for place in tl.static_range(4):
            moved = place_of_tap + (place // 2) * (width + 2) + place % 2
            pixels = tl.load(corner[None, :] + moved[:, None], mask=seen, other=0.0)
            own_dx = tl.where(won == place, dx, 0.0).to(dx.dtype)
            total += tl.dot(pixels.to(dx.dtype), own_dx, input_precision="ieee")
    there = ((strip * (K // C) + run) * TAPS + t)[:, None].to(tl.int64) * C + c[None, :]
    tl.store(dtaps_p + there, total, mask=own[None, :] & (t < TAPS)[:, None])
