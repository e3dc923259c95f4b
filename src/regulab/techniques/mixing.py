"""Techniques that mix every image of a batch with a partner: what they draw, and the shares.

Arms of a seed share partners and the uniform number u that a batch's share follows from, whatever the technique and α.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from regulab.techniques.technique import PerRun, Technique

PARTNER, SHARE = "partner", "share"  # streams
POINTS = 2**14  # of a table of shares, whose error is under 1e-6 for α from 0.05 to 100
Alpha = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class Mixing(Technique, ABC):
    """Mixes images that the batch has: it needs two of them, and two classes among all."""

    alpha: Alpha


@cache
def quantiles(alpha: float) -> NDArray[np.float64]:
    """F⁻¹(v⁴/2)^α at even v from 0 to 1, F of Beta(α, α). Takes 40 ms, and a fleet that some runs leave asks anew."""
    from scipy.special import betaincinv

    found: NDArray[np.float64] = betaincinv(alpha, alpha, np.linspace(0, 1, POINTS + 1) ** 4 / 2) ** alpha
    return found


class SharesOfBeta:
    """λ = F⁻¹(u) for each run, F being the distribution function of Beta(α, α); 1 for a run without α.

    On a device from a table: of F⁻¹(u)^α, which is nearly straight in u where F⁻¹(u) itself is steep, at places that
    lie close together towards 0.
    """

    def __init__(self, alphas: Sequence[float | None]) -> None:
        distinct = list(dict.fromkeys(alpha or 1.0 for alpha in alphas))
        self._table = torch.from_numpy(np.concatenate([quantiles(alpha) for alpha in distinct]))
        self._starts = PerRun([distinct.index(alpha or 1.0) * (POINTS + 1) for alpha in alphas])
        self._exponents = PerRun([1 / (alpha or 1) for alpha in alphas])
        self._given = PerRun([float(alpha is not None) for alpha in alphas])

    def __call__(self, u: Tensor) -> Tensor:
        """Of a number ``(R,)`` in [0, 1) for each run; float64 ``(R,)``."""
        u = u.double()
        if self._table.device != u.device:
            self._table = self._table.to(u.device)
        place = (2 * torch.minimum(u, 1 - u)) ** 0.25 * POINTS
        below = place.long().clamp(max=POINTS - 1)
        first = below + self._starts(u).long()
        low, high = self._table[first], self._table[first + 1]
        half = torch.lerp(low, high, place - below) ** self._exponents(u)
        return torch.where(self._given(u) == 0, 1.0, torch.where(u < 0.5, half, 1 - half))


def partners(x: Tensor, drawn: Tensor) -> Tensor:
    """``x`` ``(B, R, …)`` with the images of each run in the order of its draws ``(R, B)``: a permutation."""
    order = drawn.T.argsort(dim=0, stable=True)  # (B, R)
    runs = x.shape[1]
    places = order * runs + torch.arange(runs, device=x.device)
    return x.flatten(0, 1).index_select(0, places.flatten()).view_as(x)


def mixed(x: Tensor, others: Tensor, shares: Tensor) -> Tensor:
    """λ·x + (1 − λ)·others, each ``(B, R, …)``, with λ ``(R,)``; where λ is 1, x to the bit."""
    shaped = shares.to(x.dtype).view(-1, *[1] * (x.ndim - 2))
    return x * shaped + others * (1 - shaped)


def alphas(values: Sequence[Any]) -> list[float | None]:
    """α of each run, None of one that does not mix."""
    return [None if value is None else value.alpha for value in values]
