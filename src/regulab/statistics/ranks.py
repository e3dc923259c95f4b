"""Arms over several datasets: ranks within each, their averages, and whether those differ (Friedman, Nemenyi).

On dataset i the arms are ranked by their means over seeds, 1 the best; equal ones share the mean of their ranks. With N
datasets and k arms, R̄ⱼ the average rank of arm j and t the sizes of the groups of equal values,

    χ²_F = [12/(N·k·(k+1))·Σⱼ (N·R̄ⱼ)² − 3·N·(k+1)] / (1 − Σ (t³ − t)/(N·k·(k² − 1))).

**Friedman's test** asks whether all arms are alike. Under that null every order of the values within a dataset is
equally likely, independently between datasets. χ² with k − 1 degrees of freedom is its limit for many datasets, and
poor for five; so p counts orders instead: 99,999 of them drawn, p = (1 + hits)/100,000.

**Critical difference.** After Friedman's test has found a difference, two arms differ where their average ranks are
further apart than

    CD = q_α·√(k·(k+1)/(6·N)),   q_α the 1 − α quantile of the studentized range of k normal variables over √2,

which holds the chance of any false difference among all k·(k−1)/2 pairs at α, in the limit of many datasets and if all
arms are alike (Nemenyi 1963). It counts datasets, not images or seeds: on five datasets four arms need average ranks
2.1 apart, of at most 3. Datasets must be independent of each other; the seeds of one make its ranks surer, not more.
Source: Demšar 2006, Journal of Machine Learning Research 7, 1-30.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from regulab.statistics.verdicts import ALPHA

FEWEST_DATASETS, FEWEST_ARMS = 5, 3
DRAWS = 99_999
_CHUNK = 10_000

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Friedman:
    """Friedman's test: the statistic, p of its limit (χ²), and p of counted orders, which decides."""

    statistic: float
    p_chi2: float
    p: float


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Ranks ``(N, k)`` and their averages ``(k,)``; the rest is None where too little is there to test.

    ``groups`` are the largest runs of neighbours, by average rank, that lie within the critical difference.
    """

    ranks: tuple[tuple[float, ...], ...]
    average: tuple[float, ...]
    friedman: Friedman | None
    critical_difference: float | None
    groups: tuple[tuple[int, ...], ...]
    untested: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "friedman": None if self.friedman is None else asdict(self.friedman),
            "critical_difference": self.critical_difference,
            "untested": self.untested,
        }


def ranking(values: Values, generator: np.random.Generator, *, higher_is_better: bool) -> Ranking:
    """Ranks of ``values`` ``(N datasets, k arms)``; NaN (an arm that diverged) comes last."""
    worst = -np.inf if higher_is_better else np.inf
    filled = np.where(np.isnan(values), worst, np.round(values, 9))  # means that differ by rounding are equal
    ranks = np.stack([stats.rankdata(-row if higher_is_better else row) for row in filled])
    count, arms = ranks.shape
    average = ranks.mean(axis=0)
    why = _untested(count, arms)
    friedman = None if why else friedman_test(ranks, generator)
    difference = None if why else critical_difference(arms, count)
    return Ranking(
        ranks=tuple(map(tuple, ranks.tolist())),
        average=tuple(average.tolist()),
        friedman=friedman,
        critical_difference=difference,
        groups=() if difference is None else groups_within(average.tolist(), difference),
        untested=why,
    )


def friedman_test(ranks: Values, generator: np.random.Generator) -> Friedman:
    """Of ranks ``(N, k)``, corrected for ties; all arms equal everywhere: statistic 0, p 1."""
    count, arms = ranks.shape
    if not np.ptp(ranks):
        return Friedman(statistic=0.0, p_chi2=1.0, p=1.0)
    spread = float(((ranks - (arms + 1) / 2) ** 2).sum()) / (arms - 1)  # N·k·(k+1)/12 without ties
    factor = count**2 / spread  # χ² is a constant times Σ(R̄ − (k+1)/2)², whatever the order within the rows
    statistic = factor * float(((ranks.mean(axis=0) - (arms + 1) / 2) ** 2).sum())
    hits = 0
    for start in range(0, DRAWS, _CHUNK):
        size = min(_CHUNK, DRAWS - start)
        means = np.zeros((size, arms))
        for row in ranks:
            means += generator.permuted(np.tile(row, (size, 1)), axis=1) / count
        drawn = factor * ((means - (arms + 1) / 2) ** 2).sum(axis=1)
        hits += int(np.count_nonzero(drawn >= statistic * (1 - 1e-9)))
    return Friedman(
        statistic=statistic, p_chi2=float(stats.chi2.sf(statistic, arms - 1)), p=(1 + hits) / (1 + DRAWS)
    )


def critical_difference(arms: int, datasets: int, alpha: float = ALPHA) -> float:
    """CD = q_α·√(k·(k+1)/(6·N)) for k arms on N datasets."""
    quantile = float(stats.studentized_range.ppf(1 - alpha, arms, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(arms * (arms + 1) / (6 * datasets))


def groups_within(average: Sequence[float], difference: float) -> tuple[tuple[int, ...], ...]:
    """Indices of arms, best first: each longest run whose ends are at most ``difference`` apart; two arms at least."""
    order = sorted(range(len(average)), key=lambda arm: average[arm])
    found: list[tuple[int, ...]] = []
    reached = 0
    for start in range(len(order)):
        end = start
        while end + 1 < len(order) and average[order[end + 1]] - average[order[start]] <= difference + 1e-12:
            end += 1
        if end > max(start, reached):
            found.append(tuple(order[start : end + 1]))
            reached = end
    return tuple(found)


def _untested(datasets: int, arms: int) -> str | None:
    if datasets < FEWEST_DATASETS:
        return (
            f"{datasets} datasets are too few for a critical difference: with fewer than {FEWEST_DATASETS} hardly any "
            "difference of ranks could pass it, and its approximation is poor"
        )
    if arms < FEWEST_ARMS:
        return f"{arms} arms: Friedman's test and its critical difference compare {FEWEST_ARMS} or more"
    return None
