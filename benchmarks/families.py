"""The rule for a fixed number of seeds, over many simulated studies at once: sign flips, by Holm and by step-down.

The same as `regulab.statistics.step_down` for one study (held by ``tests/cases/test_looks.py``), where
differences are ``(studies, arms, n)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MOST_LISTED, DRAWN, CHUNK = 10, 999, 20  # pairs whose sign vectors are listed; else so many are drawn
ROUNDING = 1e-6  # of an image


@dataclass(frozen=True)
class Adjusted:
    """p over all arms of each study, ``(studies, arms)``."""

    by_holm: Array
    stepped: Array


def difference(d: Array) -> Adjusted:
    """Two-sided, for d ``(studies, arms, n)``."""
    return _in_chunks([d], two_sided=True)


def equivalence(d: Array, margin: float) -> Adjusted:
    """Of lying within ``margin``."""
    return _in_chunks([d + margin, margin - d], two_sided=False)


def sign_vectors(n: int, chunk: int) -> Array:
    """All sign vectors ``(2ⁿ, n)``, or ``DRAWN`` random ones after the one that changes nothing, without which no test
    is valid; others for every chunk of studies, as one drawn set is a little too strict or too lax for all of them."""
    if n <= MOST_LISTED:
        return 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    drawn = 1.0 - 2.0 * np.random.default_rng([n, chunk]).integers(0, 2, (DRAWN, n))
    return np.concatenate([np.ones((1, n)), drawn])


def holm(p: Array) -> Array:
    """Holm's adjusted p over the last axis."""
    order = np.argsort(p, -1)
    steps = np.take_along_axis(p, order, -1) * np.arange(p.shape[-1], 0, -1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(1, np.maximum.accumulate(steps, -1)), -1)
    return adjusted


def _in_chunks(sides: Sequence[Array], *, two_sided: bool) -> Adjusted:
    n = sides[0].shape[-1]
    found = [
        _adjusted(
            [side[start : start + CHUNK] for side in sides], sign_vectors(n, start), two_sided=two_sided
        )
        for start in range(0, len(sides[0]), CHUNK)
    ]
    return Adjusted(
        *(np.concatenate([getattr(one, name) for one in found]) for name in ("by_holm", "stepped"))
    )


def _adjusted(sides: Sequence[Array], signs: Array, *, two_sided: bool) -> Adjusted:
    if two_sided and len(signs) == 2 ** signs.shape[1]:
        signs = signs[: len(signs) // 2]  # the last sign is + in these; |T(−s)| = |T(s)|
    extremes = np.stack(
        [_extremes(side, signs, two_sided=two_sided) for side in sides], -1
    )  # (R, A, S, sides)
    seen = extremes[:, :, 0].min(-1)
    by_holm = holm(-np.ceil(seen - 0.25 - 1e-9) / len(signs))
    order = np.argsort(seen, -1)  # from the least extreme arm
    bars = np.take_along_axis(seen, order, -1) - 1e-9
    ranked = np.take_along_axis(extremes, order[..., None, None], 1)
    most = np.maximum.accumulate(ranked.max(-1), 1)
    union = (most >= bars[..., None]).mean(-1)
    steps = union.copy()
    for k in (
        range(seen.shape[1]) if len(sides) > 1 else ()
    ):  # of one side the union is never more than the sum
        reaching = (ranked[:, : k + 1] >= bars[:, k, None, None, None]).mean(2)
        steps[:, k] = np.minimum(union[:, k], reaching.max(-1).sum(-1))
    stepped = np.empty_like(steps)
    running = np.maximum.accumulate(steps[:, ::-1], -1)[:, ::-1]
    np.put_along_axis(stepped, order, np.minimum(1, running), -1)
    return Adjusted(by_holm, stepped)


def _extremes(x: Array, signs: Array, *, two_sided: bool) -> Array:
    """−(flips with a sum as large) + U/4√n, for x ``(R, A, n)``: ``(R, A, S)``."""
    sums = x @ signs.T
    sums = np.abs(sums) if two_sided else sums
    length = np.sqrt((x**2).sum(-1, keepdims=True))
    order = np.argsort(sums, -1)
    ascending = np.take_along_axis(sums, order, -1)
    starts = np.diff(ascending, axis=-1, prepend=-np.inf) > ROUNDING
    first = np.maximum.accumulate(np.where(starts, np.arange(len(signs)), 0), -1)
    u = np.divide(ascending, length, out=np.zeros_like(ascending), where=length > 0) / (
        4 * np.sqrt(x.shape[-1])
    )
    extremes = np.empty_like(sums)
    np.put_along_axis(extremes, order, u - (len(signs) - first), -1)
    return extremes
