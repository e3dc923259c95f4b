"""The rules by which numbers become a verdict, all in this one place.

For an arm against the baseline, the first that matches:

1. ``diverged``: a run of the arm diverged. A diverged baseline leaves every other arm undecided.
2. ``equivalent``: both one-sided tests, of d + margin and of margin − d, pass.
3. ``better`` or ``worse``: the test of a difference passes.
4. ``undecided``.

What passing means depends on how the number of seeds came about. Fixed beforehand (`decide`): sign-flip tests of the
mean, p under α as adjusted over all arms by step-down (`step_down`). Added until decided (`decide_sequentially`):
self-normalized e-values (sign e-values for a study begun with them), at least m/α for m arms; the first look at which
rule 2 or 3 matched is kept.

Where the seeds are too few for p to reach α, no p is given: 2/2ⁿ is the least that a difference can have, 1/2ⁿ an
equivalence, so that five seeds can show an equivalence and six a difference, of however many arms. A metric that has no
better direction (a norm, a share of zeros) gets no better or worse, hence no verdict.

**What is held at α.** Each *kind* of false verdict over all arms, by itself:

- a difference (``better`` or ``worse``) of any arm that has none, whichever other arms differ;
- an equivalence of any arm whose difference is a margin or more, whichever other arms are equivalent.

A study with arms of both sorts can err in both ways, with a chance of up to 2α. Both tests take the arms' differences
for symmetric about their centre (0, or ±margin), jointly, which lost runs break, and a baseline that is skewed bends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from regulab.config.metrics import BRIER, ECE, NLL, TOP_K
from regulab.statistics.sequential import Tally, deciding_tally

ALPHA = 0.05

Verdict = Literal["better", "worse", "equivalent", "undecided", "diverged"]

LOWER_IS_BETTER = ("test_loss", "train_loss", "seconds", NLL, ECE, BRIER)
HIGHER_IS_BETTER = ("test_accuracy", "train_accuracy", "balanced_accuracy", *TOP_K)


def direction(metric: str) -> int:
    """+1 where higher is better, −1 where lower is, 0 where neither."""
    return (metric in HIGHER_IS_BETTER) - (metric in LOWER_IS_BETTER)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a verdict over a fixed number of seeds depends on. A p that was not computed is None."""

    arm_diverged: bool
    baseline_diverged: bool
    direction: int
    difference: float | None
    p_adjusted: float | None
    equivalence_p_adjusted: float | None


@dataclass(frozen=True, kw_only=True)
class SequentialEvidence:
    """All that a verdict over seeds added until decided depends on; ``looks`` are all of them, in order."""

    arm_diverged: bool
    baseline_diverged: bool
    direction: int
    looks: Sequence[Tally]
    tests: int  # arms compared with the baseline


def decide(evidence: Evidence, alpha: float = ALPHA) -> Verdict | None:
    """The verdict by the rules above; None where a difference was found but has no better direction."""
    p, equivalence_p, difference = evidence.p_adjusted, evidence.equivalence_p_adjusted, evidence.difference
    return _first_that_matches(
        evidence,
        equivalent=equivalence_p is not None and equivalence_p < alpha,
        different=p is not None and p < alpha,
        upwards=difference is not None and difference > 0,
    )


def decide_sequentially(evidence: SequentialEvidence, alpha: float = ALPHA) -> Verdict | None:
    """The same with e-values: the chance of any false verdict, over all arms and looks, is at most α (`sequential`).

    None for a difference without a better direction. Divergence is a fact rather than an inference: it counts
    whenever it happens, after a decision too.
    """
    tally = deciding_tally(evidence.looks, evidence.tests, alpha)
    return _first_that_matches(
        evidence,
        equivalent=tally.equivalent(evidence.tests, alpha),
        different=tally.different(evidence.tests, alpha),
        upwards=tally.upwards,
    )


def _first_that_matches(
    evidence: Evidence | SequentialEvidence, *, equivalent: bool, different: bool, upwards: bool
) -> Verdict | None:
    if evidence.arm_diverged:
        return "diverged"
    if evidence.baseline_diverged:
        return "undecided"
    if equivalent:
        return "equivalent"
    if not different:
        return "undecided"
    if evidence.direction == 0:
        return None
    return "better" if upwards == (evidence.direction > 0) else "worse"
