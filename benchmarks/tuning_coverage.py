"""How often intervals of a tuned arm's difference cover what they are of: the chosen points, or the procedure.

    python benchmarks/tuning_coverage.py [STUDIES]      # default 1000 simulated studies of each kind; a minute

Two arms of sixteen trials, one with a learning rate alone and one with a strength as well, S tuning seeds, ten fresh
seeds; scores have noise of standard deviation 1 of their own and 1 that all runs of a seed share. ``rough``: trials
that are worse by g scatter (1 + g, at most 4) times as much. θ, the worth of the procedure, is the mean over all
studies of what was chosen. Printed: the share of the intervals, seeds alone and with the choice, that cover it.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from regulab.statistics.trials import Trials
from regulab.statistics.tuned import choice_of
from regulab.streams import Streams
from regulab.tuning.trials import quasi_random

TRIALS, FRESH, BEST = 16, 10, (0.55, 0.4)
Numbers = NDArray[np.float64]


class Kind(NamedTuple):
    name: str
    curvature: float  # of the score over the unit square of the ranges; 0: flat
    islands: tuple[float, ...] = ()  # in its place: the scores of a few good trials among bad ones


KINDS = (
    Kind("all trials alike", 0),
    Kind("shallow", 1),
    Kind("curved", 4),
    Kind("steep", 20),
    Kind("two good ones, 0.5 apart", 0, (0, -0.5, -5)),
    Kind("two good ones, 1.5 apart", 0, (0, -1.5, -9)),
    Kind("one good one by 1", 0, (0, -1)),
)


def truth(kind: Kind, dimensions: int) -> Numbers:
    """The expected score of each trial ``(C,)``."""
    if kind.islands:
        return np.array([*kind.islands, *[kind.islands[-1]] * TRIALS][:TRIALS], dtype=np.float64)
    places = quasi_random(TRIALS, 2, Streams("coverage", 0))[:, :dimensions]
    scores: Numbers = -kind.curvature * ((places - np.array(BEST[:dimensions])) ** 2).sum(1)
    return scores


def simulated(kind: Kind, seeds: int, rough: bool, studies: int) -> tuple[float, float, float, float]:
    """Coverage of the chosen points and of the procedure by seeds alone, of the procedure with the choice, and how
    much wider that is."""
    generator = Streams(kind.name, seeds).generator("coverage", str(rough))
    deltas, differences, added = [], [], []
    for study in range(studies):
        shared, fresh = generator.standard_normal(seeds), generator.standard_normal(FRESH)
        worth, tested, variances = [], [], []
        for dimensions in (1, 2):
            means = truth(kind, dimensions)
            spread = 1 + np.minimum(3, means.max() - means) if rough else np.ones(TRIALS)
            scores = means[:, None] + shared + spread[:, None] * generator.standard_normal((TRIALS, seeds))
            chosen = int(scores.mean(1).argmax())
            trials = Trials("arm", {"lr": ""}, ({},) * TRIALS, scores, chosen)
            found = choice_of(trials, "best", "test_accuracy", Streams(kind.name, study))
            assert found.variance is not None
            variances.append(found.variance)
            worth.append(means[chosen])
            tested.append(means[chosen] + fresh + spread[chosen] * generator.standard_normal(FRESH))
        deltas.append(worth[1] - worth[0])
        differences.append(tested[1] - tested[0])
        added.append(sum(variances))
    d, delta = np.array(differences), np.array(deltas)
    error, theta = d.var(1, ddof=1) / FRESH, delta.mean()
    t = stats.t.ppf(0.975, FRESH - 1)
    alone, whole = t * np.sqrt(error), t * np.sqrt(error + np.array(added))
    off = np.abs(d.mean(1) - theta)
    return (
        float((np.abs(d.mean(1) - delta) <= alone).mean()),
        float((off <= alone).mean()),
        float((off <= whole).mean()),
        float(np.median(whole / alone)),
    )


def main(studies: int) -> None:
    print(f"{studies} studies of each kind, {TRIALS} trials, {FRESH} fresh seeds; coverage in %")
    print(
        "| scores over the range | tuning seeds | points, seeds alone | procedure, seeds alone | with the choice "
        "| width |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for seeds in (2, 4):
        for kind in KINDS:
            for rough in (False, True) if kind.curvature or kind.islands else (False,):
                points, alone, whole, wider = simulated(kind, seeds, rough, studies)
                name = f"{kind.name}{', rough' if rough else ''}"
                print(
                    f"| {name} | {seeds} | {100 * points:.1f} | {100 * alone:.1f} | {100 * whole:.1f} | ×{wider:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
