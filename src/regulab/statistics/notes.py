"""What remains to be said about an arm beside its numbers: why there is no verdict, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from regulab.records import EValue
from regulab.statistics.differences import Pairs
from regulab.statistics.mcnemar import McNemar
from regulab.statistics.outliers import far_from_the_rest
from regulab.statistics.sequential import fewest_pairs
from regulab.statistics.sign_flip import least_pairs, smallest_p
from regulab.statistics.verdicts import ALPHA, Verdict
from regulab.wording import named, quoted


def divergence(seeds: Sequence[int], runs: int) -> str | None:
    """Which of so many runs of the arm diverged."""
    if not seeds:
        return None
    text = f"{len(seeds)} of {runs} runs diverged (seed {', '.join(map(str, seeds))})"
    return f"{text}; the mean is of the others" if len(seeds) < runs else text


def lost_teacher(teacher: str, seeds: Sequence[int]) -> str | None:
    """Of an arm that learns from another: the seeds in which that one diverged, so that this one could not train."""
    if not seeds:
        return None
    where = ", ".join(map(str, seeds))
    return f"its teacher {quoted(teacher)} diverged (seed {where}): there was nothing to learn from"


def no_pairs(n: int, *, baseline_diverged: bool) -> str | None:
    if baseline_diverged:
        return "the baseline diverged: there is nothing sound to compare with"
    return "no seed in common with the baseline" if n == 0 else None


def unfinished(missing: int, planned: int) -> str:
    return (
        f"not judged yet: {missing} of {planned} runs are missing, and a verdict on the way would be a look at the "
        "study; the same `regulab run` goes on"
    )


def lacking(runs: int, metric: str) -> str:
    """Where completed runs do not have the metric: whatever hides them may have to do with how they came out."""
    who = "a completed run has" if runs == 1 else f"{runs} completed runs have"
    return f"not judged: {who} no {metric} in the records"


def one_seed(arm: str, baseline: str, single: McNemar | None) -> str:
    text = "one seed allows no test over seeds"
    if single is None:
        return text
    return (
        f"{text}; McNemar's exact test on this pair of models: {single.only_arm_right} test images only {named(arm)} "
        f"gets right, {single.only_baseline_right} only {named(baseline)}, p = {single.p:.3g}. It speaks of these two "
        "trained models, not of their arms: two seeds of one arm differ as well"
    )


def floor(n: int, *, equivalence: bool) -> str:
    """Why ``n`` pairs can show no difference, and how many could; whether they can show an equivalence."""
    text = (
        f"with {n} seeds p cannot fall under {ALPHA:g}: the smallest is {smallest_p(n):.3g}; "
        f"{least_pairs(ALPHA)} seeds are the fewest that can show a difference"
    )
    if not equivalence:
        return text
    fewest = least_pairs(ALPHA, sides=1)
    return f"{text}, {fewest} the fewest that can show equivalence"


def no_direction(metric: str, verdict: Verdict | None) -> str | None:
    if verdict is not None:
        return None
    return f"the difference is significant, but {metric} has no better direction"


def too_few_looked_at(looked_at: int, tests: int, kind: EValue) -> str | None:
    """Under the sequential rule."""
    fewest = fewest_pairs(tests, ALPHA, kind, equivalence=True)
    if looked_at >= fewest:
        return None
    return f"looked at with {looked_at} pairs; {fewest} are the fewest that can decide"


def lost_pairs(looked_at: int, missing: int) -> str | None:
    """Under the sequential rule: results of runs that were there at a look are gone."""
    if not missing:
        return None
    return f"{missing} of the {looked_at + missing} pairs that were looked at are missing from the results"


def stands_apart(pairs: Pairs) -> str | None:
    """Seeds that may be lost runs, with the median and the mean that they pull away from it."""
    step = float(pairs.unit) if pairs.unit is not None else 0.0
    seeds, d = list(pairs.by_seed), pairs.d
    found = far_from_the_rest(d, step)
    if not found:
        return None
    named = ", ".join(f"{seeds[place]} ({_signed(float(d[place]))})" for place in found)
    who = f"seed {named} stands" if len(found) == 1 else f"seeds {named} stand"
    return (
        f"{who} far from the others: median {_signed(float(np.median(d)))}, mean {_signed(float(d.mean()))}. "
        "Tests and intervals take d for symmetric, which lost runs break: look at these runs first"
    )


def other_side(pairs: Pairs, verdict: Verdict | None, margin: Fraction | None) -> str | None:
    """Under the sequential rule a verdict speaks of where d is centred; median and mean may disagree on where that
    is."""
    if not len(pairs.d) or verdict not in ("better", "worse", "equivalent"):
        return None
    median, mean = float(np.median(pairs.d)), float(pairs.d.mean())
    within = float("inf") if margin is None else float(margin)
    apart = median * mean < 0 if verdict != "equivalent" else (abs(median) < within) != (abs(mean) < within)
    if not apart:
        return None
    return (
        f"the verdict speaks of the centre about which differences are symmetric; their median is {_signed(median)} "
        f"and their mean {_signed(mean)}, so they are not"
    )


def no_width(pairs: Pairs) -> str | None:
    """Where all differences are equal."""
    if not pairs.all_equal():
        return None
    n = len(pairs.by_seed)
    return f"all {n} differences are equal, so the interval has no width: it says nothing of other seeds"


def joined(*texts: str | None) -> str | None:
    return "; ".join(text for text in texts if text) or None


def _signed(value: float) -> str:
    return f"{value:+.4g}".replace("-", "−")
