"""The verdicts of a study, over paired differences of any number that is better when higher."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from regulab.statistics.equivalence import equivalence_p
from regulab.statistics.holm import holm
from regulab.statistics.sign_flip import smallest_p, two_sided_p
from regulab.statistics.verdicts import ALPHA, Evidence, Verdict, decide


def paired_verdicts(
    differences: Mapping[str, NDArray[np.float64]], margin: float, generator: np.random.Generator
) -> dict[str, Verdict]:
    """``better``, ``worse``, ``equivalent`` or ``undecided`` for each of a family of comparisons.

    ``differences`` are d ``(n,)`` by name, pair by pair, with the same n in all, in the unit of ``margin``; higher is
    better. Exact sign-flip tests, Holm-adjusted over the family, under α = 0.05, as for the arms of a study; where n
    pairs are too few for p to reach α, a difference or an equivalence cannot be shown. ``generator`` serves the tests
    above 16 pairs. Raises `UserError` where a difference is not finite.
    """
    names = list(differences)

    def can_pass(sides: int) -> bool:
        floors = [smallest_p(len(d), sides=sides) for d in differences.values()]
        return all(floor * len(names) < ALPHA for floor in floors)

    p = holm([two_sided_p(differences[name], generator) for name in names])
    same = holm([equivalence_p(differences[name], margin, generator) for name in names])
    different, equal = can_pass(2), can_pass(1)
    verdicts: dict[str, Verdict] = {}
    for name, p_holm, equivalence_p_holm in zip(names, p, same, strict=True):
        evidence = Evidence(
            arm_diverged=False,
            baseline_diverged=False,
            direction=1,
            difference=float(differences[name].mean()),
            p_holm=p_holm if different else None,
            equivalence_p_holm=equivalence_p_holm if equal else None,
        )
        verdict = decide(evidence)
        assert verdict is not None, "higher is better, so a difference has a direction"
        verdicts[name] = verdict
    return verdicts
