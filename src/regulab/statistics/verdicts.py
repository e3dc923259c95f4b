"""The rules by which numbers become a verdict, all in this one place.

For an arm against the baseline, the first that matches:

1. ``diverged``: a run of the arm diverged. A diverged baseline leaves every other arm undecided.
2. ``equivalent``: both one-sided sign-flip tests of d + margin and margin − d, Holm-adjusted, under α.
3. ``better`` or ``worse``: the two-sided sign-flip test, Holm-adjusted, under α.
4. ``undecided``.

Where the seeds are too few for p to reach α, nothing is tested and the arm is undecided. A metric
that has no better direction (a norm, a share of zeros) gets no better or worse, hence no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ALPHA = 0.05

Verdict = Literal["better", "worse", "equivalent", "undecided", "diverged"]

LOWER_IS_BETTER = ("test_loss", "train_loss", "seconds")
HIGHER_IS_BETTER = ("test_accuracy", "train_accuracy")


def direction(metric: str) -> int:
    """+1 where higher is better, −1 where lower is, 0 where neither."""
    return (metric in HIGHER_IS_BETTER) - (metric in LOWER_IS_BETTER)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a verdict depends on. A p that was not computed is None."""

    arm_diverged: bool
    baseline_diverged: bool
    direction: int
    difference: float | None
    p_holm: float | None
    equivalence_p_holm: float | None


def decide(evidence: Evidence, alpha: float = ALPHA) -> Verdict | None:
    """The verdict by the rules above; None where a difference was found but has no better direction."""
    if evidence.arm_diverged:
        return "diverged"
    if evidence.baseline_diverged or evidence.p_holm is None or evidence.difference is None:
        return "undecided"
    if evidence.equivalence_p_holm is not None and evidence.equivalence_p_holm < alpha:
        return "equivalent"
    if evidence.p_holm < alpha:
        if evidence.direction == 0:
            return None
        return "better" if evidence.difference * evidence.direction > 0 else "worse"
    return "undecided"
