"""How often is a verdict false on real trainings? Every rule on the same records, before and after it was changed.

``real_studies.py`` trains studies of a baseline and three twins that are identical to it, so that every ``better`` or
``worse`` is false. A difference of known size is planted by taking images away: an arm that gets k of 1,000 fewer right
in every run than its twin is worse by exactly k, with the noise of real training. At k = one margin every
``equivalent`` is false, and so is ``better``. The margin of a kind of study is 1.5 times the spread of its twins'
differences over seeds, in whole images, so that seven seeds can show an equivalence at all.

Rules see the differences ``(studies, arms, seeds)`` in images and say what they find in each arm. What was trained has
20 seeds: three studies of six for the fixed rule, or two of seven or ten, which share no run, and one for the others,
which look at 7, 10, 14 and 20.

    python benchmarks/aa_studies.py benchmarks/results/real-studies-2026-11-27.json \\
        --out benchmarks/results/aa-studies-2026-11-27.md
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import families
import numpy as np
from families import Array
from real_studies import PAIRINGS, SEEDS, TEST_IMAGES, TWINS, Recorded, recorded
from scipy import stats

from regulab.files import write_whole
from regulab.statistics.self_normalized import log_e_paths
from regulab.statistics.sequential import e_threshold
from regulab.statistics.sign_evidence import log_e_above, log_e_difference
from regulab.statistics.verdicts import ALPHA

LOOKS = (7, 10, 14, 20)
MARGIN = 1.5  # spreads of the differences
NOTHING, AT_MARGIN, BOTH = (0, 0, 0), (1, 1, 1), (0, 1, 1)


@dataclass(frozen=True)
class Found:
    """What a rule says of every arm, ``(studies, arms)`` each, and after how many seeds it was decided."""

    better: Array
    worse: Array
    equivalent: Array
    seeds: Array

    @property
    def different(self) -> Array:
        return self.better | self.worse


Rule = Callable[[Array, Array], Found]  # d (studies, arms, seeds) and the margins (studies,), in images


def fixed(d: Array, margins: Array, adjusted: str) -> Found:
    """Sign flips, adjusted over the arms by Holm or by step-down; equivalence comes first."""
    d = d.astype(float)
    p = getattr(families.difference(d), adjusted)
    p_equal = np.empty_like(p)
    for margin in np.unique(margins):
        own = margins == margin
        p_equal[own] = getattr(families.equivalence(d[own], float(margin)), adjusted)
    equivalent = p_equal < ALPHA
    different, up = (p < ALPHA) & ~equivalent, d.sum(-1) > 0
    return Found(different & up, different & ~up, equivalent, np.full(p.shape, d.shape[-1]))


def sign_e(x: Array) -> Array:
    """ln E₁ of every prefix of x, by the signs alone."""
    paths: Array = log_e_above((x > 0).cumsum(-1), (x < 0).cumsum(-1))
    return paths


def sign_e_both(d: Array) -> Array:
    paths: Array = log_e_difference((d > 0).cumsum(-1), (d < 0).cumsum(-1))
    return paths


def self_normalized_both(d: Array) -> Array:
    return np.logaddexp(log_e_paths(d), log_e_paths(-d)) - math.log(2)


def sequential(
    d: Array,
    margins: Array,
    above: Callable[[Array], Array],
    both: Callable[[Array], Array],
    looks: Sequence[int] = LOOKS,
) -> Found:
    """e-values at ``looks``, at the threshold of all arms; the first look that decides is kept."""
    d, m, bar = d.astype(float), margins[:, None, None], math.log(e_threshold(d.shape[1], ALPHA))
    inside = np.minimum(above(d + m), above(m - d)) >= bar
    differs, up = both(d) >= bar, above(d) > above(-d)
    undecided = np.ones(d.shape[:2], bool)
    better, worse, equivalent = (np.zeros_like(undecided) for _ in range(3))
    seeds = np.full(d.shape[:2], looks[-1])
    for n in looks:
        equal, apart, higher = (one[..., n - 1] for one in (inside, differs, up))
        now = undecided & (equal | apart)
        equivalent |= now & equal
        better |= now & ~equal & higher
        worse |= now & ~equal & ~higher
        seeds[now] = n
        undecided &= ~now
    return Found(better, worse, equivalent, seeds)


def fixed_at_every_look(d: Array, margins: Array) -> Found:
    """What p gives at every look, the first that decides kept: nobody should."""
    found = fixed(d[..., : LOOKS[0]], margins, "by_holm")
    for n in LOOKS[1:]:
        later, open_ = fixed(d[..., :n], margins, "by_holm"), ~(found.different | found.equivalent)
        better, worse, equivalent = (
            getattr(found, name) | (open_ & getattr(later, name))
            for name in ("better", "worse", "equivalent")
        )
        found = Found(better, worse, equivalent, np.where(open_, n, found.seeds))
    return found


RULES: dict[str, tuple[int, Rule]] = {  # by name: the seeds that it takes, and the rule
    "6 seeds, Holm (before)": (6, lambda d, m: fixed(d, m, "by_holm")),
    "**6 seeds, step-down**": (6, lambda d, m: fixed(d, m, "stepped")),
    "7 seeds, Holm (before)": (7, lambda d, m: fixed(d, m, "by_holm")),
    "**7 seeds, step-down**": (7, lambda d, m: fixed(d, m, "stepped")),
    "10 seeds, Holm (before)": (10, lambda d, m: fixed(d, m, "by_holm")),
    "**10 seeds, step-down**": (10, lambda d, m: fixed(d, m, "stepped")),
    "looks at 7, 10, 14, 20, sign e-value (before)": (20, lambda d, m: sequential(d, m, sign_e, sign_e_both)),
    "**looks at 7, 10, 14, 20, self-normalized e-value**": (
        20,
        lambda d, m: sequential(d, m, log_e_paths, self_normalized_both),
    ),
    "p again at 7, 10, 14, 20 (nobody should)": (20, lambda d, m: fixed_at_every_look(d, m)),
}


@dataclass(frozen=True)
class Studies:
    """All studies of a pairing: differences of the twins to the baseline, in images, and the margin of each study."""

    d: Array  # (studies, twins, seeds)
    spreads: Array  # (studies,), of their kind
    kinds: Mapping[str, int]

    @property
    def margins(self) -> Array:
        return np.ceil(MARGIN * self.spreads)

    def planted(self, spreads: float) -> Array:
        """Every twin is worse by so many spreads, in whole images."""
        found: Array = self.d - np.round(spreads * self.spreads).astype(int)[:, None, None]
        return found

    def of(self, seeds: int) -> Studies:
        """The studies of so many seeds that they make, block by block."""
        blocks = SEEDS // seeds
        d = np.concatenate([self.d[..., k * seeds : (k + 1) * seeds] for k in range(blocks)])
        return Studies(d, np.tile(self.spreads, blocks), self.kinds)


def studies_of(found: Mapping[str, Recorded]) -> Studies:
    parts, spreads = [], []
    for one in found.values():
        d = (one.final[..., 1 : len(TWINS)] - one.final[..., :1]).transpose(0, 2, 1)
        parts.append(d)
        spreads += [math.sqrt(d.var(-1, ddof=1).mean())] * len(d)
    return Studies(
        np.concatenate(parts), np.array(spreads), {kind: len(one.final) for kind, one in found.items()}
    )


def erred(found: Found, effects: Sequence[int]) -> Array:
    """Whether a study has a false verdict; ``effects`` has 1 for an arm that is worse by one margin, 0 for others."""
    there = np.array(effects, bool)
    false: Array = (found.different & ~there).any(-1) | ((found.equivalent | found.better) & there).any(-1)
    return false


def share(count: int, of: int) -> str:
    low, high = stats.binomtest(count, of).proportion_ci(0.95, method="exact")
    return f"{100 * count / of:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def false_table(studies: Mapping[str, Studies]) -> str:
    columns = (
        "rule",
        "pairing",
        "studies",
        "false difference",
        "false equivalence",
        "either",
        "equivalents found",
    )
    lines = [f"| {' | '.join(columns)} |", f"| --- | --- |{' ---: |' * (len(columns) - 2)}"]
    for name, (seeds, rule) in RULES.items():
        for pairing, trained in studies.items():
            own, cells = trained.of(seeds), []
            for effects in (NOTHING, AT_MARGIN, BOTH):
                shift = np.outer(own.margins, effects).astype(int)
                found = rule(own.d - shift[..., None], own.margins)
                cells.append(share(int(erred(found, effects).sum()), len(own.d)))
            same = rule(own.d, own.margins).equivalent
            cells.append(f"{100 * same.mean():.0f}")
            lines.append(f"| {name} | {pairing} | {len(own.d)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def power_table(studies: Mapping[str, Studies]) -> str:
    """How many of three arms that are worse by so much are found so, and after how many seeds."""
    sizes = (0.5, 1.0, 1.5)
    lines = [f"| rule | pairing | {' | '.join(f'{size:g} spreads' for size in sizes)} | wrong sign | seeds |"]
    lines.append(f"| --- | --- |{' ---: |' * (len(sizes) + 2)}")
    for name, (taken, rule) in list(RULES.items())[:-1]:
        for pairing, trained in studies.items():
            own = trained.of(taken)
            found = [rule(own.planted(size), np.full(len(own.d), 1e-3)) for size in sizes]
            cells = [f"{100 * one.worse.mean():.0f}" for one in found]
            wrong = sum(int(one.better.sum()) for one in found)
            seeds = " / ".join(f"{one.seeds.mean():.1f}" for one in found)
            lines.append(f"| {name} | {pairing} | {' | '.join(cells)} | {wrong} | {seeds} |")
    return "\n".join(lines)


def page(content: dict[str, Any], command: str) -> str:
    environment = content["environment"]
    studies = {pairing: studies_of(recorded(content, pairing)) for pairing in PAIRINGS}
    kinds = "; ".join(
        f"{pairing}: {len(own.d)} ({', '.join(f'{count} {kind}' for kind, count in own.kinds.items())})"
        for pairing, own in studies.items()
    )
    runs = SEEDS * len(content["arms"]) * len(content["studies"])
    spreads = ", ".join(
        f"{kind} {math.sqrt(studies_of({kind: one}).d.var(-1, ddof=1).mean()) / TEST_IMAGES * 100:.2f}"
        f" ({100 * one.final[..., : len(TWINS)].mean() / TEST_IMAGES:.1f} % right)"
        for kind, one in recorded(content, "paired").items()
    )
    return f"""# Verdicts on real trainings of identical arms

{datetime.date.today().isoformat()}, {environment["processor"]}, {environment["threads"]} thread, \
{environment["precision"]}, regulab {environment["regulab"]} ({environment["commit"]}), torch \
{environment["libraries"]["torch"]}. Command: `{command}`, on {runs:,} runs trained by `{content["command"]}`.

Trained with {SEEDS} seeds, {kinds}. Digits, a baseline and three identical arms, tested on {TEST_IMAGES:,} images. \
Six, seven or ten of the seeds are a study of their own: blocks of seeds share no run. Paired arms share initial \
weights and order, not the draws of dropout. Spread of a paired difference over seeds in points, and \
accuracy: {spreads}. What is planted is exact: in every run so many images fewer are counted right.

## False verdicts

Percent of studies in which any of three arms gets a verdict that is not so, with 95 % intervals (Clopper–Pearson): a \
`better` or `worse` where no arm has an effect; an `equivalent` (or `better`) where every arm is worse by one margin \
({MARGIN:g} spreads); either of them where one arm has no effect and two are worse by a margin. Nominal: 5, 5, and 10 \
for the third. The last column is no error: of arms without an effect, the percentage that is found equivalent.

{false_table(studies)}

## What is found

Percent of arms found `worse` where all three are worse by so many spreads of a seed's difference (equivalence left \
out), arms found `better` of all these, and the seeds that were looked at, on average, for each size of effect.

{power_table(studies)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path, help="what real_studies.py has written")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    text = page(json.loads(arguments.records.read_text()), shlex.join(["python", *sys.argv]))
    write_whole(arguments.out, text.encode())
    print(text)


if __name__ == "__main__":
    main()
