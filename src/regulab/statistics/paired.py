"""The verdicts of a study, over paired differences of any number that is better when higher."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from regulab.statistics.differences import Pairs
from regulab.statistics.families import Families
from regulab.statistics.sign_flip import smallest_p
from regulab.statistics.verdicts import ALPHA, Evidence, Verdict, decide
from regulab.statistics.whole import decimal


def paired_verdicts(
    differences: Mapping[str, NDArray[np.float64]], margin: float, generator: np.random.Generator
) -> dict[str, Verdict]:
    """``better``, ``worse``, ``equivalent`` or ``undecided`` for each of a family of comparisons.

    ``differences`` are d ``(n,)`` by name, pair by pair, with the same n in all, in the unit of ``margin``; higher is
    better. Exact sign-flip tests, adjusted over the family by step-down, under α = 0.05, as for the arms of a study;
    where n pairs are too few for p to reach α, a difference or an equivalence cannot be shown. ``generator`` serves
    the tests above 16 pairs. Raises `UserError` where a difference is not finite.
    """
    names = list(differences)
    different, equal = (
        all(smallest_p(len(d), sides=sides) < ALPHA for d in differences.values()) for sides in (2, 1)
    )
    pairs = [Pairs(dict(enumerate(d.tolist()))) for d in differences.values()]
    families, limit = Families(pairs, generator), decimal(margin)
    p = families.differences([d.two_sided(generator) for d in pairs])
    same = families.equivalences([d.equivalence(limit, generator) for d in pairs], limit)
    verdicts: dict[str, Verdict] = {}
    for name, p_adjusted, equivalence_p_adjusted in zip(names, p, same, strict=True):
        evidence = Evidence(
            arm_diverged=False,
            baseline_diverged=False,
            direction=1,
            difference=float(differences[name].mean()),
            p_adjusted=p_adjusted if different else None,
            equivalence_p_adjusted=equivalence_p_adjusted if equal else None,
        )
        verdict = decide(evidence)
        assert verdict is not None, "higher is better, so a difference has a direction"
        verdicts[name] = verdict
    return verdicts
