"""Evidence that runs of one seed started alike and saw their images in the same order, and what it brought."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.records import Result

Values = NDArray[np.float64]


def pairing(results: Sequence[Result]) -> dict[str, bool]:
    """Whether every comparable pair of arms agrees, per kind of evidence.

    Initial weights compare within a seed. Orders compare within a seed and a number of epochs: the hash
    covers the epochs that a run trained. False as well where there is nothing to compare.
    """
    return {
        "initial_weights": _agree((str(r.seed), r.initial_weights_hash) for r in results),
        "data_order": _agree((f"{r.seed}/{r.epochs}", r.data_order_hash) for r in results),
    }


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

    Var(d) = Var(arm) + Var(baseline) − 2·Cov(arm, baseline): what the arms share drops out of d. All of it are
    estimates, and rough ones under some ten pairs. None for fewer than two pairs. ``correlation``
    (Pearson's) is None for two pairs, where it is ±1 whatever the values, and where an arm does not vary;
    ``independent_seeds`` is None where d does not vary.
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
