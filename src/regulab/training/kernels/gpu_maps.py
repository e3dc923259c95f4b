"""What a GPU does between two convolutions of a fleet, in Triton: a map is the matrix ``(N, K)``, channels-last memory.

N = B·H·W places and K = R·C columns, R runs of C channels. All of it goes column by column: statistics over the places,
then one pass that normalizes, rectifies and drops, and two passes back. Draws of dropout are hashed where they are
needed (`regulab.models.hashed_draws`), so that no mask lies in memory. Sums are float32 in a fixed order: nothing here
adds atomically, and the same step gives the same bits.

This module needs Triton; `regulab.training.kernels.gpu` is what calls it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from regulab.models.hashed_draws import FIRST, SECOND, WEYL

WEYL_STEP = tl.constexpr(WEYL - 2**64)  # as signed numbers, whose products have the same bits
FIRST_FACTOR = tl.constexpr(FIRST - 2**64)
SECOND_FACTOR = tl.constexpr(SECOND - 2**64)


@triton.jit
def _right(z, by: tl.constexpr):
    """Shifted right with zeros coming in."""
    return (z.to(tl.uint64, bitcast=True) >> by).to(tl.int64, bitcast=True)


@triton.jit
def _splitmix64(state):
    z = (state ^ _right(state, 30)) * FIRST_FACTOR
    z = (z ^ _right(z, 27)) * SECOND_FACTOR
    return z ^ _right(z, 31)


@triton.jit
def hashes(rows, cols, keys_p, step_p, seed_p, N, C: tl.constexpr):
    """The 64 bits ``(rows, cols)`` that hold the draw of a place's channel, and three neighbouring ones."""
    words: tl.constexpr = (C + 3) // 4
    key = tl.load(keys_p + tl.load(seed_p + cols // C))
    before = tl.load(step_p) * N * words + 1
    counter = rows[:, None].to(tl.int64) * words + ((cols % C) // 4)[None, :] + before
    return _splitmix64(key[None, :] + counter * WEYL_STEP)


@triton.jit
def draw_keeps(
    kept_p, keys_p, step_p, seed_p, low_p, N, K, C: tl.constexpr, ARMS: tl.constexpr, P: tl.constexpr,
    BYTES: tl.constexpr
):  # fmt: skip
    """What dropout keeps of a map, as bits, eight columns a byte: ``(N, ⌈K/8⌉)``.

    Drawn once and read three times: a hash takes fifty instructions, and a pass over a map has but ten for an element.
    ARMS runs that stand side by side share a seed, so that one hash serves them all; C is then a multiple of 8.
    """
    width = tl.cdiv(K, 8)
    each = width // ARMS  # bytes of the first arms of all seeds
    blocks = tl.cdiv(each, BYTES)
    rows = (tl.program_id(0) // blocks) * P + tl.arange(0, P)
    byte = (tl.program_id(0) % blocks) * BYTES + tl.arange(0, BYTES)
    ok = (rows < N)[:, None] & (byte < each)[None, :]
    at = kept_p + rows[:, None].to(tl.int64) * width
    if C % 4 == 0:
        if ARMS > 1:
            byte = (byte // (C // 8)) * (ARMS * C // 8) + byte % (C // 8)
        left, right = tl.minimum(8 * byte, K - 4), tl.minimum(8 * byte + 4, K - 4)
        bits_left = hashes(rows, left, keys_p, step_p, seed_p, N, C)
        bits_right = hashes(rows, right, keys_p, step_p, seed_p, N, C)
        for arm in tl.static_range(ARMS):
            low_left, low_right = tl.load(low_p + left // C + arm), tl.load(low_p + right // C + arm)
            kept = tl.zeros([P, BYTES], tl.int32)
            for place in tl.static_range(4):
                kept |= ((bits_left >> (16 * place)).to(tl.int16) >= low_left[None, :]).to(tl.int32) << place
                kept |= ((bits_right >> (16 * place)).to(tl.int16) >= low_right[None, :]).to(tl.int32) << (
                    place + 4
                )
            tl.store(at + (byte + arm * (C // 8))[None, :], kept.to(tl.uint8), mask=ok)
    else:  # a hash for every column
        kept = tl.zeros([P, BYTES], tl.int32)
        for place in tl.static_range(8):
            cols = tl.minimum(8 * byte + place, K - 1)
            shift = (16 * ((cols % C) % 4)).to(tl.int64)[None, :]
            draws = (hashes(rows, cols, keys_p, step_p, seed_p, N, C) >> shift).to(tl.int16)
            kept |= (draws >= tl.load(low_p + cols // C)[None, :]).to(tl.int32) << place
        tl.store(at + byte[None, :], kept.to(tl.uint8), mask=ok)


@triton.jit
def stored_keeps(rows, first, kept_p, N, K, ALIGNED: tl.constexpr, P: tl.constexpr, COLS: tl.constexpr):
    """What `draw_keeps` stored of the columns from ``first`` on; ALIGNED where that is a multiple of 8."""
    width = tl.cdiv(K, 8)
    line_p = kept_p + rows[:, None].to(tl.int64) * width
    if ALIGNED:
        byte = first // 8 + tl.arange(0, COLS // 8)
        bits = tl.load(line_p + byte[None, :], mask=(rows < N)[:, None] & (byte < width)[None, :], other=0)
        eight = (bits.to(tl.int32)[:, :, None] >> tl.arange(0, 8)[None, None, :]) & 1
        return tl.reshape(eight, (P, COLS)) != 0
    cols = tl.minimum(first + tl.arange(0, COLS), K - 1)
    bits = tl.load(line_p + (cols // 8)[None, :], mask=(rows < N)[:, None], other=0).to(tl.int32)
    return ((bits >> (cols % 8)[None, :]) & 1) != 0


@triton.jit
def factors(kept, first, scale_p, K, C: tl.constexpr, COLS: tl.constexpr):
    """What dropout multiplies elements with, ``(P, COLS)``: 0, or 1/(1 − rate)."""
    cols = tl.minimum(first + tl.arange(0, COLS), K - 1)
    return tl.where(kept, tl.load(scale_p + cols // C)[None, :], 0.0)


@triton.jit
def line(mean_p, variance_p, gamma_p, beta_p, eps, cols, inside):
    """The norm of each column as a·x + b; and μ, and 1/√(σ² + ε)."""
    mean = tl.load(mean_p + cols, mask=inside, other=0.0)
    inverse = 1.0 / tl.sqrt(tl.load(variance_p + cols, mask=inside, other=1.0) + eps)
    a = tl.load(gamma_p + cols, mask=inside, other=0.0) * inverse
    return a, tl.load(beta_p + cols, mask=inside, other=0.0) - mean * a, mean, inverse


@triton.jit
def rectified(x):
    """max(0, x), NaN where x is: a run that diverges must be seen to."""
    return tl.where(x <= 0, 0.0, x)


@triton.jit
def store_strip(mean_p, squares_p, strip, cols, inside, K, shift, total, squares, count):
    """A strip's mean and sum of squared deviations of each column, from sums of values that ``shift`` was taken off."""
    moved_sum = tl.sum(total, 0)
    at = strip.to(tl.int64) * K + cols
    tl.store(mean_p + at, shift + moved_sum / count, mask=inside)
    tl.store(squares_p + at, tl.sum(squares, 0) - moved_sum * moved_sum / count, mask=inside)


@triton.jit
def statistics(
    x_p,
    mean_p,
    squares_p,
    N,
    K,
    BEFORE: tl.constexpr,
    P: tl.constexpr,
    COLS: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """Of each strip of CHUNKS·P places every column's mean and its sum of squared deviations: ``(strips, K)``."""
    blocks = tl.cdiv(K, COLS)
    strip = tl.program_id(0) // blocks
    cols = (tl.program_id(0) % blocks) * COLS + tl.arange(0, COLS)
    inside, start = cols < K, strip * CHUNKS * P
    total = tl.zeros([P, COLS], tl.float32)
    squares = tl.zeros([P, COLS], tl.float32)
    # Moved by the strip's first value, so that squares of large means do not cancel.
    first = tl.load(x_p + start.to(tl.int64) * K + cols, mask=inside, other=0.0).to(tl.float32)
    first = rectified(first) if BEFORE else first
    for chunk in range(tl.minimum(CHUNKS, tl.cdiv(N - start, P))):
        rows = start + chunk * P + tl.arange(0, P)
        ok = (rows < N)[:, None] & inside[None, :]
        x = tl.load(x_p + rows[:, None].to(tl.int64) * K + cols[None, :], mask=ok, other=0.0).to(tl.float32)
        x = rectified(x) if BEFORE else x
        moved = tl.where(ok, x - first[None, :], 0.0)
        total += moved
        squares += moved * moved
    count = tl.minimum(N - start, CHUNKS * P).to(tl.float32)
    store_strip(mean_p, squares_p, strip, cols, inside, K, first, total, squares, count)


@triton.jit
def join_statistics(
    means_p,
    squares_p,
    mean_p,
    variance_p,
    N,
    K,
    strips,
    LENGTH: tl.constexpr,
    S: tl.constexpr,
    COLS: tl.constexpr,
):
    """μ and σ² (biased) of every column from those of its strips, all of LENGTH places but the last."""
    cols = tl.program_id(0) * COLS + tl.arange(0, COLS)
    inside = cols < K
    total = tl.zeros([S, COLS], tl.float32)
    for start in range(0, strips, S):
        strip = start + tl.arange(0, S)
        ok = (strip < strips)[:, None] & inside[None, :]
        count = tl.minimum(N - strip * LENGTH, LENGTH).to(tl.float32)[:, None]
        means = tl.load(means_p + strip[:, None].to(tl.int64) * K + cols[None, :], mask=ok, other=0.0)
        total += tl.where(ok, means * count, 0.0)
    mean = tl.sum(total, 0) / N
    total = tl.zeros([S, COLS], tl.float32)
    for start in range(0, strips, S):
        strip = start + tl.arange(0, S)
        ok = (strip < strips)[:, None] & inside[None, :]
        count = tl.minimum(N - strip * LENGTH, LENGTH).to(tl.float32)[:, None]
        at = strip[:, None].to(tl.int64) * K + cols[None, :]
        apart = tl.load(means_p + at, mask=ok, other=0.0) - mean[None, :]
        total += tl.where(ok, tl.load(squares_p + at, mask=ok, other=0.0) + count * apart * apart, 0.0)
    tl.store(mean_p + cols, mean, mask=inside)
    tl.store(variance_p + cols, tl.sum(total, 0) / N, mask=inside)


@triton.jit
def normalize(
    x_p, y_p, mean_p, variance_p, gamma_p, beta_p, eps, scale_p, kept_p, N, K,
    C: tl.constexpr, DROPS: tl.constexpr, BEFORE: tl.constexpr, P: tl.constexpr, COLS: tl.constexpr
):  # fmt: skip
    """y = m/(1 − rate) · max(0, γ (x − μ)/√(σ² + ε) + β); with BEFORE, ReLU of x in the place of the outer one."""
    blocks = tl.cdiv(K, COLS)
    first = (tl.program_id(0) % blocks) * COLS
    cols, rows = first + tl.arange(0, COLS), (tl.program_id(0) // blocks) * P + tl.arange(0, P)
    ok, at = (rows < N)[:, None] & (cols < K)[None, :], rows[:, None].to(tl.int64) * K + cols[None, :]
    a, b, _, _ = line(mean_p, variance_p, gamma_p, beta_p, eps, cols, cols < K)
    x = tl.load(x_p + at, mask=ok, other=0.0).to(tl.float32)
    y = (rectified(x) if BEFORE else x) * a[None, :] + b[None, :]
    y = y if BEFORE else rectified(y)
    if DROPS:
        y *= factors(stored_keeps(rows, first, kept_p, N, K, True, P, COLS), first, scale_p, K, C, COLS)
    tl.store(y_p + at, y.to(y_p.dtype.element_ty), mask=ok)


@triton.jit
def after_norm(
    x, grad, rows, first, mean_p, variance_p, gamma_p, beta_p, eps, scale_p, kept_p, N, K, inside,
    C: tl.constexpr, DROPS: tl.constexpr, BEFORE: tl.constexpr, ALIGNED: tl.constexpr, P: tl.constexpr,
    COLS: tl.constexpr
):  # fmt: skip
    """g = ∂L/∂y · m/(1 − rate) · [y > 0] and x̂ = (x − μ)/√(σ² + ε), both ``(P, COLS)``; and γ/√(σ² + ε)."""
    a, b, mean, inverse = line(mean_p, variance_p, gamma_p, beta_p, eps, first + tl.arange(0, COLS), inside)
    x = rectified(x) if BEFORE else x
    g = grad if BEFORE else tl.where(x * a[None, :] + b[None, :] <= 0, 0.0, grad)
    if DROPS:
        g *= factors(stored_keeps(rows, first, kept_p, N, K, ALIGNED, P, COLS), first, scale_p, K, C, COLS)
    return g, (x - mean[None, :]) * inverse[None, :], a


@triton.jit
def gradient_sums(
    x_p, grad_p, sums_p, mean_p, variance_p, gamma_p, beta_p, eps, scale_p, kept_p, N, K, strips,
    C: tl.constexpr, DROPS: tl.constexpr, BEFORE: tl.constexpr, P: tl.constexpr, COLS: tl.constexpr,
    CHUNKS: tl.constexpr
):  # fmt: skip
    """Of each strip of CHUNKS·P places Σ g x̂ and Σ g for every column: ``(2, strips, K)``."""
    blocks = tl.cdiv(K, COLS)
    strip, first = tl.program_id(0) // blocks, (tl.program_id(0) % blocks) * COLS
    cols = first + tl.arange(0, COLS)
    inside = cols < K
    of_gamma = tl.zeros([P, COLS], tl.float32)
    of_beta = tl.zeros([P, COLS], tl.float32)
    for chunk in range(tl.minimum(CHUNKS, tl.cdiv(N, P) - strip * CHUNKS)):
        rows = (strip * CHUNKS + chunk) * P + tl.arange(0, P)
        ok, at = (rows < N)[:, None] & inside[None, :], rows[:, None].to(tl.int64) * K + cols[None, :]
        x = tl.load(x_p + at, mask=ok, other=0.0).to(tl.float32)
        grad = tl.load(grad_p + at, mask=ok, other=0.0).to(tl.float32)
        g, hat, _ = after_norm(
            x, grad, rows, first, mean_p, variance_p, gamma_p, beta_p, eps, scale_p, kept_p, N, K, inside,
            C, DROPS, BEFORE, True, P, COLS
        )  # fmt: skip
        of_gamma += g * hat
        of_beta += g
    tl.store(sums_p + strip.to(tl.int64) * K + cols, tl.sum(of_gamma, 0), mask=inside)
    tl.store(sums_p + (strips + strip).to(tl.int64) * K + cols, tl.sum(of_beta, 0), mask=inside)


@triton.jit
def map_gradient(
    x_p, grad_p, won_p, dx_p, sums_p, mean_p, variance_p, gamma_p, beta_p, eps, scale_p, kept_p, N, K, height, width,
    C: tl.constexpr, DROPS: tl.constexpr, BEFORE: tl.constexpr, POOL: tl.constexpr,
    P: tl.constexpr, COLS: tl.constexpr
):  # fmt: skip
    """∂L/∂x = γ/√(σ² + ε) · (g − ∂L/∂β/n − x̂ ∂L/∂γ/n); with POOL 2 at the place that won each window, 0 beside it.

    ``sums`` are ∂L/∂γ and ∂L/∂β, ``(2, K)``; height and width those before pooling.
    """
    blocks = tl.cdiv(K, COLS)
    first = (tl.program_id(0) % blocks) * COLS
    cols, rows = first + tl.arange(0, COLS), (tl.program_id(0) // blocks) * P + tl.arange(0, P)
    inside = cols < K
    ok, at = (rows < N)[:, None] & inside[None, :], rows[:, None].to(tl.int64) * K + cols[None, :]
    x = tl.load(x_p + at, mask=ok, other=0.0).to(tl.float32)
    grad = tl.load(grad_p + at, mask=ok, other=0.0).to(tl.float32)
    g, hat, a = after_norm(
        x, grad, rows, first, mean_p, variance_p, gamma_p, beta_p, eps, scale_p, kept_p, N, K, inside,
        C, DROPS, BEFORE, True, P, COLS
    )  # fmt: skip
    of_gamma = tl.load(sums_p + cols, mask=inside, other=0.0) / N
    of_beta = tl.load(sums_p + K + cols, mask=inside, other=0.0) / N
    dx = a[None, :] * (g - of_beta[None, :] - hat * of_gamma[None, :])
    if BEFORE:
        dx = tl.where(x <= 0, 0.0, dx)
    dx = dx.to(dx_p.dtype.element_ty)
    if POOL == 2:
        won = tl.load(won_p + at, mask=ok, other=0)
        corner = corners(rows, height, width).to(tl.int64)
        for place in tl.static_range(4):
            there = (corner + (place // 2) * width + place % 2)[:, None] * K + cols[None, :]
            tl.store(dx_p + there, tl.where(won == place, dx, 0.0), mask=ok)
    else:
        tl.store(dx_p + at, dx, mask=ok)


@triton.jit
def corners(rows, height, width):
    """The place of the upper left of each 2×2 window, in the map before pooling."""
    down, across = height // 2, width // 2
    return ((rows // (down * across)) * height + 2 * ((rows // across) % down)) * width + 2 * (rows % across)


@triton.jit
def pool(
    x_p, y_p, won_p, mean_p, squares_p, N, K, height, width, P: tl.constexpr, COLS: tl.constexpr,
    CHUNKS: tl.constexpr
):  # fmt: skip
    """The largest of each 2×2 window, and which of the four it was: the first of equal ones; `statistics` of them."""
    blocks = tl.cdiv(K, COLS)
    strip, cols = tl.program_id(0) // blocks, (tl.program_id(0) % blocks) * COLS + tl.arange(0, COLS)
    inside, start = cols < K, strip * CHUNKS * P
    total = tl.zeros([P, COLS], tl.float32)
    squares = tl.zeros([P, COLS], tl.float32)
    shift = tl.load(x_p + corners(start, height, width).to(tl.int64) * K + cols, mask=inside, other=0.0)
    shift = shift.to(tl.float32)
    for chunk in range(tl.minimum(CHUNKS, tl.cdiv(N - start, P))):
        rows = start + chunk * P + tl.arange(0, P)
        ok, at = (rows < N)[:, None] & inside[None, :], rows[:, None].to(tl.int64) * K + cols[None, :]
        corner = corners(rows, height, width).to(tl.int64)
        best = tl.load(x_p + corner[:, None] * K + cols[None, :], mask=ok, other=0.0).to(tl.float32)
        won = tl.zeros([P, COLS], tl.int8)
        for place in tl.static_range(1, 4):
            there = (corner + (place // 2) * width + place % 2)[:, None] * K + cols[None, :]
            x = tl.load(x_p + there, mask=ok, other=0.0).to(tl.float32)
            larger = (x > best) | (x != x)
            won = tl.where(larger, place, won).to(tl.int8)
            best = tl.where(larger, x, best)
        tl.store(y_p + at, best.to(y_p.dtype.element_ty), mask=ok)
        tl.store(won_p + at, won, mask=ok)
        moved = tl.where(ok, best - shift[None, :], 0.0)
        total += moved
        squares += moved * moved
    count = tl.minimum(N - start, CHUNKS * P).to(tl.float32)
    store_strip(mean_p, squares_p, strip, cols, inside, K, shift, total, squares, count)
