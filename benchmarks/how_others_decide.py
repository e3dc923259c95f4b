"""How often do the usual ways to compare two arms err, and what do they find? All on the same real trainings.

``real_studies.py`` trains arms that are identical but for the luck of training. Two arms of a study, over its 20 seeds,
are a comparison whose truth is known: no difference. Taking k of 1,000 test images away from one of them in every run
plants a difference of exactly k, with the noise of real training. The effects here are half of, and one, standard
deviation of a seed's paired difference (`spreads`), the size at which experiments are usually done.

Every way sees the test images right of two arms, ``(comparisons, seeds)`` each, and says +1 (the arm is better), −1 or
0. A way that needs fewer than 20 seeds is tried on every block of seeds in turn: blocks share no run.

    python benchmarks/how_others_decide.py benchmarks/results/real-studies-2026-11-27.json \\
        --out benchmarks/how-others-decide.md
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import families
import numpy as np
from aa_studies import self_normalized_both
from families import Array
from real_studies import PAIRINGS, SEEDS, TEST_IMAGES, Recorded, recorded
from scipy import stats

from regulab.files import write_whole
from regulab.statistics.self_normalized import log_e_paths
from regulab.statistics.verdicts import ALPHA

TWO = ((0, 1), (2, 3))  # arm and baseline, among identical arms: two comparisons a study that share no run
EFFECTS = (0.0, 0.5, 1.0)  # spreads
RESAMPLES = 2_000


@dataclass(frozen=True)
class Decided:
    """+1, −1 or 0 for every comparison, and the seeds that it took."""

    sign: Array
    seeds: Array


Decide = Callable[[Array, Array], Decided]  # arm and baseline (comparisons, seeds)


@dataclass(frozen=True)
class Way:
    """A way to decide that looks at so many seeds of each arm; ``best_epoch``: at each run's best epoch on test."""

    says: str
    seeds: int
    decide: Decide
    best_epoch: bool = False


def higher(arm: Array, base: Array, *, beyond: float = 0.0) -> Decided:
    """The higher mean wins, if it is higher by more than ``beyond`` images."""
    d = (arm - base).mean(-1)
    return _all(np.sign(d) * (np.abs(d) > beyond + 1e-9), arm)


def apart(arm: Array, base: Array, *, standard_error: bool) -> Decided:
    """Mean ± one standard deviation over seeds, or ± one standard error: the bars do not overlap."""
    scale = math.sqrt(arm.shape[-1]) if standard_error else 1.0
    d, bars = arm.mean(-1) - base.mean(-1), (arm.std(-1, ddof=1) + base.std(-1, ddof=1)) / scale
    return _all(np.sign(d) * (np.abs(d) > bars), arm)


def by_p(p: Array, arm: Array, base: Array) -> Decided:
    return _all(np.sign((arm - base).mean(-1)) * (np.nan_to_num(p, nan=1.0) < ALPHA), arm)


def welch(arm: Array, base: Array) -> Decided:
    return by_p(stats.ttest_ind(arm, base, axis=-1, equal_var=False).pvalue, arm, base)


def paired_t(arm: Array, base: Array) -> Decided:
    return by_p(stats.ttest_rel(arm, base, axis=-1).pvalue, arm, base)


def signed_rank(arm: Array, base: Array) -> Array:
    """Wilcoxon's exact two-sided p: zeros dropped, mid-ranks for ties, all signs of ten pairs listed."""
    d = arm - base
    ranks = stats.rankdata(np.abs(d), axis=-1) - (d == 0).sum(-1, keepdims=True)
    ranks = np.where(d == 0, 0.0, ranks)
    seen = np.abs((np.sign(d) * ranks).sum(-1, keepdims=True))
    n = d.shape[-1]
    signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    p: Array = (np.abs(ranks @ signs.T) >= seen - 1e-9).mean(-1)
    return p


def wilcoxon(arm: Array, base: Array) -> Decided:
    return by_p(signed_rank(arm, base), arm, base)


def shapiro_first(arm: Array, base: Array) -> Decided:
    """Shapiro and Wilk's test of the paired differences at 5 %: the paired t test where it passes, else Wilcoxon's."""
    normal = np.array([d.any() and stats.shapiro(d).pvalue >= ALPHA for d in arm - base])
    p = stats.ttest_rel(arm, base, axis=-1).pvalue
    p[~normal] = signed_rank(arm[~normal], base[~normal])
    return by_p(p, arm, base)


def bootstrap(arm: Array, base: Array) -> Decided:
    """The 95 % percentile bootstrap interval of the mean paired difference leaves 0 out."""
    d, n = arm - base, arm.shape[-1]
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    low, high = np.percentile(d @ counts.T / n, (2.5, 97.5), axis=-1)
    return _all((low > 0).astype(int) - (high < 0), arm)


def until_significant(arm: Array, base: Array) -> Decided:
    """The paired t test after three seeds and after every one more, until p < 0.05."""
    sign, seeds = np.zeros(len(arm)), np.full(len(arm), arm.shape[-1])
    for n in range(3, arm.shape[-1] + 1):
        found = np.where(sign == 0, paired_t(arm[:, :n], base[:, :n]).sign, 0)
        seeds[found != 0] = n
        sign += found
    return Decided(sign, seeds)


def sign_flips(arm: Array, base: Array) -> Decided:
    """regulab's rule for a fixed number of seeds, one arm."""
    return by_p(families.difference((arm - base)[:, None].astype(float)).stepped[:, 0], arm, base)


def until_decided(arm: Array, base: Array) -> Decided:
    """regulab's ``--until-decided``: e-values after every seed from the fifth on, for a difference."""
    d = (arm - base).astype(float)
    enough = self_normalized_both(d) >= math.log(1 / ALPHA)
    enough[:, :4] = False
    decided, first = enough.any(-1), enough.argmax(-1)
    up = np.take_along_axis(log_e_paths(d) - log_e_paths(-d), first[:, None], -1)[:, 0] > 0
    return Decided(np.where(decided, np.where(up, 1, -1), 0), np.where(decided, first + 1, d.shape[-1]))


def _all(sign: Array, arm: Array) -> Decided:
    return Decided(np.asarray(sign).astype(int), np.full(len(arm), arm.shape[-1]))


WAYS = (
    Way("one seed, the higher number wins", 1, higher),
    Way("one seed, higher by more than 0.1 points", 1, lambda a, b: higher(a, b, beyond=TEST_IMAGES / 1000)),
    Way("one seed, best epoch on the test set, higher wins", 1, higher, best_epoch=True),
    Way("mean of 3 seeds, higher wins", 3, higher),
    Way("5 seeds, error bars (± standard error) do not overlap", 5, lambda a, b: apart(a, b, standard_error=True)),
    Way("5 seeds, error bars (± standard deviation) do not overlap", 5, lambda a, b: apart(a, b, standard_error=False)),
    Way("5 seeds, 95 % percentile bootstrap of the difference", 5, bootstrap),
    Way("5 seeds, Welch's t", 5, welch),
    Way("5 seeds, paired t", 5, paired_t),
    Way("10 seeds, 95 % percentile bootstrap of the difference", 10, bootstrap),
    Way("10 seeds, Welch's t", 10, welch),
    Way("10 seeds, paired t", 10, paired_t),
    Way("10 seeds, Wilcoxon", 10, wilcoxon),
    Way("10 seeds, Shapiro, then paired t or Wilcoxon", 10, shapiro_first),
    Way("paired t after every seed from 3 to 20, until p < 0.05", 20, until_significant),
    Way("**regulab, 10 seeds**", 10, sign_flips),
    Way("**regulab, until decided, 20 seeds at most**", 20, until_decided),
)  # fmt: skip


READ = """\
## How to read it

- **The higher number wins** always has an answer. With one seed and a difference of half a spread it is the wrong \
one nearly one time in three; three seeds make that one in five. The best epoch on the test set changes nothing \
about that, and adds to both numbers.
- **Error bars** of one standard error that do not overlap err about a fifth of the time where arms are not \
paired, and by the luck of their correlation 6 % where they are; bars of one standard deviation find little. \
Neither says at which rate it errs.
- **A percentile bootstrap over five seeds** promises 5 % and errs three times as often: five numbers, resampled, \
spread less than what they came from. With ten it still errs more than it says.
- **t and Wilcoxon** with a number of seeds fixed beforehand hold about 5 %. Asking Shapiro first changes nothing \
worth the trouble: with ten seeds it sees the grossest departures alone. Welch's t forgets the pairs, and finds a \
third of what the paired test finds where pairing helps; where it does not help it is as good.
- **Adding seeds until p < 0.05** looks like care, and errs four or five times as often as it says. An e-value may \
be looked at after every seed, and errs less than it may.
- **regulab with ten seeds** errs and finds about what the paired t test does, and takes no normal distribution for \
granted. *Until decided* is for \
who cannot say beforehand how many seeds: it pays for looking with more of them. Beyond the table regulab \
corrects over all arms of a study, and says \
*equivalent* where that can be shown.

All this is of small networks on one set of test images. It says how often a way errs about *these* images; other \
images are another matter ([what no verdict covers](../docs/verdicts.md)).
"""


@dataclass(frozen=True)
class Comparisons:
    """Test images right of two identical arms, ``(comparisons, 20)``, and the spread of their kind's differences."""

    final: tuple[Array, Array]
    best_on_test: tuple[Array, Array]
    spreads: Array  # (comparisons,)


def comparisons_of(found: Mapping[str, Recorded]) -> Comparisons:
    spreads: list[float] = []
    parts: dict[str, tuple[list[Array], list[Array]]] = {name: ([], []) for name in ("final", "best_on_test")}
    for one in found.values():
        d = np.concatenate([one.final[..., arm] - one.final[..., base] for arm, base in TWO])
        spreads += [math.sqrt(d.var(-1, ddof=1).mean())] * len(d)
        for name, pair in parts.items():
            for side in range(2):
                pair[side].append(np.concatenate([getattr(one, name)[..., two[side]] for two in TWO]))
    final, best = ((np.concatenate(arm), np.concatenate(base)) for arm, base in parts.values())
    return Comparisons(final, best, np.array(spreads))


def tried(way: Way, on: Comparisons, effect: float) -> Decided:
    """A way on every block of seeds of every comparison, with the arm better by ``effect`` spreads."""
    arm, base = on.best_on_test if way.best_epoch else on.final
    arm = arm + np.round(effect * on.spreads).astype(int)[:, None]
    blocks = SEEDS // way.seeds
    arm, base = (one[:, : blocks * way.seeds].reshape(-1, way.seeds) for one in (arm, base))
    return way.decide(arm, base)


def row(way: Way, on: Comparisons) -> str:
    none, *others = [tried(way, on, effect) for effect in EFFECTS]
    wrong = int((none.sign != 0).sum())
    low, high = stats.binomtest(wrong, len(none.sign)).proportion_ci(0.95, method="exact")
    cells = [f"{100 * wrong / len(none.sign):.1f} ({100 * low:.1f}–{100 * high:.1f})"]
    for one in others:
        cells += [f"{100 * (one.sign > 0).mean():.0f}", f"{100 * (one.sign < 0).mean():.1f}"]
    seeds = [f"{one.seeds.mean():.1f}" for one in (none, *others)]
    cells.append(seeds[0] if len(set(seeds)) == 1 and way.seeds < SEEDS else " / ".join(seeds))
    return f"| {way.says} | {' | '.join(cells)} |"


def table(on: Comparisons) -> str:
    columns = ["how it is decided", "no effect: a winner anyway (%)"]
    for effect in EFFECTS[1:]:
        columns += [f"{effect:g} spread: found (%)", "the wrong one (%)"]
    columns.append("seeds")
    lines = [f"| {' | '.join(columns)} |", f"| --- |{' ---: |' * (len(columns) - 1)}"]
    return "\n".join(lines + [row(way, on) for way in WAYS])


def page(content: dict[str, Any], command: str) -> str:
    environment = content["environment"]
    on = {pairing: comparisons_of(recorded(content, pairing)) for pairing in PAIRINGS}
    paired, unpaired = (on[pairing] for pairing in PAIRINGS)
    one_seed, three = (tried(way, paired, 0.0) for way in (WAYS[0], WAYS[3]))
    fixed = tried(WAYS[-2], paired, 0.0)
    return f"""# How others decide, and how often they are wrong

{datetime.date.today().isoformat()}, {environment["processor"]}, {environment["threads"]} thread, \
{environment["precision"]}, regulab {environment["regulab"]}, torch {environment["libraries"]["torch"]}. Command: \
`{command}`, on runs trained by `{content["command"]}` ([what is trained](real_studies.py)).

Train the same thing twice under two names. Which one is better? Neither, and **whoever takes the higher number names \
a winner {100 * (one_seed.sign != 0).mean():.0f} times in 100** with one seed, {100 * (three.sign != 0).mean():.0f} \
with the mean of three (the others are ties). regulab's rule for ten seeds, made \
for 5, named one {100 * (fixed.sign != 0).mean():.1f} times in 100 (interval below). What it costs \
is seeds, and the courage to say *undecided*.

{len(paired.spreads):,} comparisons of identical arms trained in pairs (initial weights and order shared, dropout \
not), {len(unpaired.spreads):,} unpaired, of {SEEDS} seeds each: digits, two small MLPs and a CNN, {TEST_IMAGES:,} \
test images. A way that needs n seeds is tried on each block of n. “0.5 spread” is a planted difference of half the \
standard deviation of a seed's difference (exactly so many images in every run), “1 spread” one that is as large. In \
brackets 95 % intervals (Clopper–Pearson). *Seeds* are those of each arm; three numbers are for no effect, 0.5 and 1 \
spread.

## Paired arms

{table(paired)}

## Unpaired arms

{table(unpaired)}

{READ}"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path, help="what real_studies.py has written")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # t of equal differences
        text = page(json.loads(arguments.records.read_text()), shlex.join(["python", *sys.argv]))
    write_whole(arguments.out, text.encode())
    print(text)


if __name__ == "__main__":
    main()
