"""Main effects and interactions of a full factorial, from paired seeds.

y(a, b, …) is a seed's value in the arm with level a of factor A, level b of B, and so on; 0 is the first level. Per
seed, with the mean over all levels of the factors that are not named,

    main effect of a:       mean of  y(a, …) − y(0, …)
    interaction of a, b:    mean of  y(a, b, …) − y(a, 0, …) − y(0, b, …) + y(0, 0, …)

so that in a 2 × 2 of none, A, B and both the interaction is d(both) − d(A) − d(B), with d the difference to none: 0
where the two add up. This is the interaction contrast of the two-way analysis of variance; blocks are the seeds,
whose common luck cancels in every contrast.

A contrast is one number a seed, and is judged as an arm's difference is: sign flips of its seeds, an equivalence
within the study's margin, the same verdicts. All effects of a study are one family (`step_down`), apart from
the family of its arms. Accuracies are counted in whole images, here as parts of one: sums over m combinations in
units of 1/m image, so that p stays exact.

A seed counts where all arms have it. While runs are missing nothing is judged; where a run diverged the verdict is
``diverged``. Under the sequential rule, whose looks are at the arms, effects are described and not judged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from regulab.statistics import notes
from regulab.statistics.design import Cell, Design
from regulab.statistics.differences import Pairs
from regulab.statistics.families import Families, holm_of
from regulab.statistics.intervals import ANY, Interval, bounds_of_difference, mean_interval
from regulab.statistics.power import seeds_needed
from regulab.statistics.sign_flip import least_pairs, smallest_p
from regulab.statistics.values import BySeed
from regulab.statistics.verdicts import ALPHA, Evidence, decide, direction
from regulab.statistics.whole import in_images
from regulab.streams import Streams

EffectVerdict = Literal[
    "better", "worse", "equivalent", "synergistic", "antagonistic", "additive", "undecided", "diverged"
]
OF_INTERACTIONS: Mapping[str, EffectVerdict] = {
    "better": "synergistic",
    "worse": "antagonistic",
    "equivalent": "additive",
    "undecided": "undecided",
    "diverged": "diverged",
}
OF_MAIN_EFFECTS: Mapping[str, EffectVerdict] = {
    "better": "better",
    "worse": "worse",
    "equivalent": "equivalent",
    "undecided": "undecided",
    "diverged": "diverged",
}


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A main effect (of one factor) or an interaction (of two), in the unit of the metric.

    ``levels`` against ``first``, factor by factor. ``differences`` are the contrast seed by seed, ``difference`` their
    mean, ``spread`` their standard deviation. Of an interaction ``together`` is the mean difference of both levels to
    both first ones, and ``apart`` the sum of those of each alone; ``difference`` is what the one is more.
    """

    name: str
    factors: tuple[str, ...]
    levels: tuple[str, ...]
    first: tuple[str, ...]
    difference: float | None
    difference_ci95: Interval | None
    together: float | None = None
    apart: float | None = None
    median: float | None
    spread: float | None
    pairs: int
    differences: Mapping[int, float]
    p: float | None = None
    p_holm: float | None = None
    equivalence_p_holm: float | None = None
    p_adjusted: float | None = None
    equivalence_p_adjusted: float | None = None
    verdict: EffectVerdict | None = None
    seeds_needed: int | None = None
    note: str | None = None
    words: str | None = None  # of an interaction, in a sentence

    def to_json(self) -> dict[str, Any]:
        content = asdict(self)
        if len(self.factors) == 1:
            del content["together"], content["apart"], content["words"]
        for key in ("factors", "levels", "first"):
            content[key] = list(content[key])
        interval = self.difference_ci95
        content["difference_ci95"] = None if interval is None else list(interval)
        content["differences"] = {str(seed): one for seed, one in self.differences.items()}
        return content


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What all effects of a study share: how it is judged, and what keeps it from being judged."""

    metric: str
    margin: Fraction | None
    key: str
    sequential: bool
    seeds: int  # with a run of any arm
    diverged: int  # runs
    unjudged: str | None  # why nothing is, where runs are missing


@dataclass(frozen=True, kw_only=True)
class FactorialValues:
    """The values of the seeds that every arm has: ``values`` ``(n, *levels)``, an axis for each factor.

    ``counts`` are the same in images, of which one is worth ``unit``; None where the metric counts none.
    """

    design: Design
    seeds: tuple[int, ...]
    values: NDArray[np.float64]
    counts: NDArray[np.int64] | None
    unit: Fraction | None

    def contrast(self, chosen: Mapping[int, tuple[int, int]]) -> Pairs:
        """Level a less level b for each factor of ``chosen`` ``{factor: (a, b)}``; the mean over all others."""
        others = math.prod(
            len(factor.levels) for place, factor in enumerate(self.design.factors) if place not in chosen
        )
        if self.counts is None or self.unit is None:
            found = _contrast(self.values, chosen) / others
            return Pairs(dict(zip(self.seeds, found.tolist(), strict=True)))
        whole, unit = _contrast(self.counts, chosen).tolist(), self.unit / others
        exact = {seed: int(count) for seed, count in zip(self.seeds, whole, strict=True)}
        return Pairs({seed: float(count * unit) for seed, count in exact.items()}, exact, unit)


def _contrast(values: NDArray[Any], chosen: Mapping[int, tuple[int, int]]) -> NDArray[Any]:
    """The sum over the other factors of what is (level a − level b) along each chosen axis; ``(n,)``."""
    for place in range(values.ndim - 2, -1, -1):
        along = place + 1
        if place in chosen:
            high, low = chosen[place]
            values = values.take(high, along) - values.take(low, along)
        else:
            values = values.sum(along)
    return values


def factorial_values(
    design: Design, by_arm: Mapping[str, BySeed], *, accuracy: bool, images: int | None
) -> FactorialValues:
    """The values of a factorial's arms, over the seeds that all of them have; exact where ``accuracy``."""
    arms = [by_arm[arm] for arm in design.arms.values()]
    seeds = tuple(sorted(set.intersection(*(set(one) for one in arms))))
    shape = (len(seeds), *(len(factor.levels) for factor in design.factors))
    values = np.zeros(shape)
    for cell, arm in design.arms.items():
        place: tuple[slice | int, ...] = (slice(None), *cell)
        values[place] = [by_arm[arm][seed] for seed in seeds]
    counted = in_images(values.ravel().tolist(), images) if accuracy and len(seeds) else None
    if counted is None:
        return FactorialValues(design=design, seeds=seeds, values=values, counts=None, unit=None)
    counts, unit = counted
    whole = np.array(counts, dtype=np.int64).reshape(shape)
    return FactorialValues(design=design, seeds=seeds, values=values, counts=whole, unit=unit)


def effects(found: FactorialValues, condition: Condition) -> list[Effect]:
    """All main effects, factor by factor, then all two-way interactions, each judged within this one family."""
    factors = found.design.factors
    chosen: list[dict[int, tuple[int, int]]] = [
        {place: (level, 0)} for place, factor in enumerate(factors) for level in range(1, len(factor.levels))
    ]
    for one, other in itertools.combinations(range(len(factors)), 2):
        levels = itertools.product(range(1, len(factors[one].levels)), range(1, len(factors[other].levels)))
        chosen += [{one: (a, 0), other: (b, 0)} for a, b in levels]
    pairs = [found.contrast(one) for one in chosen]
    described = [_described(found, one, d, condition) for one, d in zip(chosen, pairs, strict=True)]
    return _judged(described, pairs, condition)


def _described(
    found: FactorialValues, chosen: Mapping[int, tuple[int, int]], pairs: Pairs, condition: Condition
) -> Effect:
    """An effect before anything is inferred from it."""
    factors, d, shown = found.design.factors, pairs.d, pairs.shown()
    levels = tuple(factors[place].levels[level] for place, (level, _) in chosen.items())
    bounds = bounds_of_difference(condition.metric) if len(chosen) == 1 else ANY
    effect = Effect(
        name=" × ".join(levels),
        factors=tuple(factors[place].name for place in chosen),
        levels=levels,
        first=tuple(factors[place].levels[0] for place in chosen),
        difference=float(d.mean()) if len(d) else None,
        difference_ci95=None if condition.sequential else mean_interval(d, bounds=bounds),
        median=float(np.median(list(shown.values()))) if len(d) else None,
        spread=float(d.std(ddof=1)) if len(d) > 1 else None,
        pairs=len(d),
        differences=shown,
    )
    if len(chosen) == 1 or not len(d):
        return effect
    apart = sum(_simple(found, chosen, place) for place in chosen)
    assert effect.difference is not None
    return replace(effect, together=effect.difference + apart, apart=apart)


def _simple(found: FactorialValues, chosen: Mapping[int, tuple[int, int]], place: int) -> float:
    """The mean effect of one factor's level while the other chosen factor stays at its first level."""
    values = found.values
    for other in sorted(set(chosen) - {place}, reverse=True):
        values = values.take([0], other + 1)
    others = values[0].size // values.shape[place + 1]
    return float((_contrast(values, {place: chosen[place]}) / others).mean())


def _judged(described: Sequence[Effect], pairs: Sequence[Pairs], condition: Condition) -> list[Effect]:
    """Each with the sign flips of its seeds, adjusted over all of them, where so many seeds can decide."""
    tests, n = len(described), len(pairs[0].by_seed)
    judged = not condition.sequential and condition.unjudged is None and not condition.diverged and n > 1
    p, equivalence = list[float | None]([None] * tests), list[float | None]([None] * tests)
    for place, (effect, d) in enumerate(zip(described, pairs, strict=True)):
        generator = Streams(condition.key, 0).generator("sign_flip", f"effect {effect.name}")
        if judged and smallest_p(n) < ALPHA:
            p[place] = d.two_sided(generator)
        if judged and condition.margin is not None and smallest_p(n, sides=1) < ALPHA:
            equivalence[place] = d.equivalence(condition.margin, generator)
    families = Families(pairs, Streams(condition.key, 0).generator("sign_flip", "effects", 1))
    adjusted, same = families.differences(p), families.equivalences(equivalence, condition.margin)
    by_holm, same_by_holm = holm_of(p), holm_of(equivalence)
    return [
        _with_verdict(
            replace(
                effect,
                p=p[place],
                p_holm=by_holm[place],
                equivalence_p_holm=same_by_holm[place],
                p_adjusted=adjusted[place],
                equivalence_p_adjusted=same[place],
                note=_note(n, p[place], condition, d),
            ),
            d,
            tests,
            condition,
        )
        for place, (effect, d) in enumerate(zip(described, pairs, strict=True))
    ]


def _with_verdict(effect: Effect, pairs: Pairs, tests: int, condition: Condition) -> Effect:
    if condition.sequential or not (effect.pairs or condition.diverged):
        return effect
    verdict = decide(
        Evidence(
            arm_diverged=condition.diverged > 0,
            baseline_diverged=False,
            direction=direction(condition.metric),
            difference=effect.difference,
            p_adjusted=effect.p_adjusted,
            equivalence_p_adjusted=effect.equivalence_p_adjusted,
        )
    )
    names = OF_MAIN_EFFECTS if len(effect.factors) == 1 else OF_INTERACTIONS
    needed, note = None, notes.joined(notes.no_direction(condition.metric, verdict), effect.note)
    if verdict == "undecided" and effect.spread is not None and condition.margin is not None:
        needed = seeds_needed(0.0 if pairs.all_equal() else effect.spread, float(condition.margin), tests)
    judged = None if verdict is None else names[verdict]
    return replace(effect, verdict=judged, seeds_needed=needed, note=note)


def _note(n: int, p: float | None, condition: Condition, pairs: Pairs) -> str | None:
    """Why there is no p, how many seeds are complete, and what may be wrong with the numbers."""
    incomplete = None
    if n < condition.seeds:
        why = f"; {condition.diverged} runs diverged" if condition.diverged else ""
        incomplete = f"of {condition.seeds} seeds {n} have a value in every arm, and count{why}"
    if condition.sequential:
        reason: str | None = (
            "seeds were added until the arms were decided: what the factors do is described, not judged"
        )
    elif condition.unjudged is not None:
        reason = condition.unjudged
    elif condition.diverged or not n:
        reason = None
    elif n == 1:
        reason = "one seed allows no test over seeds"
    elif p is None:
        reason = (
            f"with {n} seeds p cannot fall under {ALPHA:g}: the smallest is {smallest_p(n):.3g}; "
            f"{least_pairs(ALPHA)} seeds are the fewest that can show an effect"
        )
    else:
        reason = None
    return notes.joined(
        reason, incomplete, notes.stands_apart(pairs), notes.no_width(pairs) if n > 1 else None
    )


def cell_means(found: FactorialValues, places: tuple[int, int]) -> dict[Cell, NDArray[np.float64]]:
    """For the levels of two factors the values ``(n,)`` seed by seed, as means over all other factors."""
    others = tuple(one + 1 for one in range(len(found.design.factors)) if one not in places)
    means = found.values.mean(axis=others) if others else found.values
    first, second = (len(found.design.factors[place].levels) for place in places)
    return {(a, b): means[:, a, b] for a in range(first) for b in range(second)}
