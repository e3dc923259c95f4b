"""Evidence that runs of one seed started alike and saw their images in the same order, and what it brought."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.records import Result

Values = NDArray[np.float64]
Orders = Mapping[tuple[str, int], Sequence[str]]  # (arm, seed) -> a digest for each epoch


def pairing(results: Sequence[Result], orders: Orders | None = None) -> dict[str, bool]:
    """Whether every comparable pair of arms agrees, per kind of evidence.

    Initial weights compare within a seed. Orders compare within a seed, over the epochs that both runs trained (an arm
    may stop early): by ``orders``, the digests epoch by epoch. For runs recorded without them the hash of all
    epochs stands in, which compares runs of as many epochs. False as well where there is nothing to compare.
    """
    recorded = orders or {}
    complete = bool(results) and all((r.arm, r.seed) in recorded for r in results)
    return {
        "initial_weights": _agree((str(r.seed), r.initial_weights_hash) for r in results),
        "data_order": _orders_agree(results, recorded)
        if complete
        else _agree((f"{r.seed}/{r.epochs}", r.data_order_hash) for r in results),
    }


def _orders_agree(results: Sequence[Result], orders: Orders) -> bool:
    """Of the runs of a seed the longest tells the order of every epoch; each other one must begin as it does."""
    seeds: dict[int, list[Sequence[str]]] = {}
    for result in results:
        seeds.setdefault(result.seed, []).append(orders[result.arm, result.seed])
    compared = [runs for runs in seeds.values() if len(runs) > 1]
    return bool(compared) and all(
        len(run) > 0 and tuple(longest[: len(run)]) == tuple(run)
        for runs in compared
        for longest in [max(runs, key=len)]
        for run in runs
    )


@dataclass(frozen=True, kw_only=True)
class PairingGain:
    """What pairing did for the variance of an arm's difference, over seeds; squared units of the metric.

    ``independent_seeds`` is how many seeds per arm, drawn independently, would give the mean difference
    the same variance as the n pairs: n·(Var(arm) + Var(baseline))/Var(d). Above n, pairing saved the rest;
    under n (negative correlation), it cost some. It does not count what degrees of freedom pairing
    gives up: n − 1 in place of 2n − 2.
    """

    pairs: int
    correlation: float | None
    paired_variance: float  # Var(d)
    independent_variance: float  # Var(arm) + Var(baseline)
    independent_seeds: float | None


def pairing_gain(arm: Values, baseline: Values) -> PairingGain | None:
    """Measures pairing on values ``(n,)`` of two arms, entry by entry of the same seed (ddof = 1).

    Var(d) = Var(arm) + Var(baseline) − 2·Cov(arm, baseline): what the arms share drops out of d. All of these are
    estimates, and rough ones below some ten pairs. None for fewer than two pairs. ``correlation`` (Pearson's) is None
    for two pairs, where it is ±1 whatever the values, and where an arm does not vary; ``independent_seeds`` is None
    where d does not vary.
    """
    assert arm.shape == baseline.shape, "paired values come in pairs"
    n = len(arm)
    if n < 2:
        return None
    d = arm - baseline
    spreads = np.ptp(arm), np.ptp(baseline)
    independent, paired = float(arm.var(ddof=1) + baseline.var(ddof=1)), float(d.var(ddof=1))
    d_varies = np.ptp(d) > 1e-9 * sum(spreads)  # else by rounding alone: 99.3 − 99.2 is not 99.2 − 99.1
    return PairingGain(
        pairs=n,
        correlation=float(np.corrcoef(arm, baseline)[0, 1]) if n > 2 and min(spreads) > 0 else None,
        paired_variance=paired,
        independent_variance=independent,
        independent_seeds=n * independent / paired if d_varies else None,
    )


def _agree(keyed_hashes: Iterable[tuple[str, str]]) -> bool:
    groups: dict[str, list[str]] = {}
    for key, value in keyed_hashes:
        groups.setdefault(key, []).append(value)
    compared = [group for group in groups.values() if len(group) > 1]
    return bool(compared) and all(group[0] and len(set(group)) == 1 for group in compared)
