"""How often does the whole procedure err, from the first verdict that is read to the last?

A study of a fixed number of seeds is looked at once, by sign flips stepped down over the arms. If it is extended after
that look, self-normalized e-values judge all its pairs at every later look, and what was read at the first one stays
read. Here studies are simulated, not trained: differences of three arms that share a baseline, looked at with 7, 10,
14 and 20 seeds. A study errs if at any of its looks any of its arms shows what is not so, whatever it shows later.

Whether a verdict would have been ``equivalent`` first does not count in favour of the rules: a difference counts as
found where its test passes.

    python benchmarks/looks.py --studies 2000 --out benchmarks/results/looks-2026-11-27

(``benchmarks/looks.md`` is the same of what judged before: Holm's correction and sign e-values.)
"""

from __future__ import annotations

import argparse
import datetime
import math
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from families import difference, equivalence
from numpy.typing import NDArray
from scipy import stats

import regulab
from regulab.files import json_bytes, write_whole
from regulab.statistics.self_normalized import log_e_paths
from regulab.statistics.sequential import e_threshold
from regulab.statistics.verdicts import ALPHA

Array = NDArray[Any]
LOOKS, ARMS, MARGIN = (7, 10, 14, 20), 3, 10.0  # margin in test images: 0.1 points of 10,000
EAGER = tuple(range(10, 41))  # ten seeds, then a look after every one


@dataclass(frozen=True)
class Shown:
    """What was found at any of the looks, ``(studies, arms)`` each."""

    difference: Array
    upwards: Array  # a difference in favour of the arm
    downwards: Array
    equivalence: Array

    def __or__(self, other: Shown) -> Shown:
        return Shown(*(getattr(self, one) | getattr(other, one) for one in vars(self)))


def fixed(d: Array) -> Shown:
    """One look with all pairs of d ``(studies, arms, n)``, by the rule for a fixed number of seeds."""
    different, equal = (one.stepped < ALPHA for one in (difference(d), equivalence(d, MARGIN)))
    up = d.sum(-1) > 0
    return Shown(different, different & up, different & ~up, equal)


def fixed_again_and_again(d: Array) -> Shown:
    """What p-values give at every look: nobody should."""
    shown = fixed(d[..., : LOOKS[0]])
    for n in LOOKS[1:]:
        shown |= fixed(d[..., :n])
    return shown


def sequential(d: Array, looks: Sequence[int] = LOOKS) -> Shown:
    """Self-normalized e-values at every look."""
    bar = math.log(e_threshold(d.shape[1], ALPHA))
    up, down = log_e_paths(d), log_e_paths(-d)
    above, below = log_e_paths(d + MARGIN), log_e_paths(MARGIN - d)
    both = np.logaddexp(up, down) - math.log(2)
    nothing = np.zeros(d.shape[:2], dtype=bool)
    shown = Shown(nothing, nothing, nothing, nothing)
    for n in looks:
        at = (..., n - 1)
        different, upwards = both[at] >= bar, up[at] > down[at]
        better, worse = different & upwards & (above[at] >= bar), different & ~upwards & (below[at] >= bar)
        shown |= Shown(better | worse, better, worse, np.minimum(above[at], below[at]) >= bar)
    return shown


def fixed_then_sequential(d: Array, looks: Sequence[int] = LOOKS) -> Shown:
    """What regulab does: a fixed look, and e-values where the study is extended after it."""
    return fixed(d[..., : looks[0]]) | sequential(d, looks)


RULES: dict[str, Callable[[Array], Shown]] = {
    "one look, fixed rule": lambda d: fixed(d[..., : LOOKS[0]]),
    "fixed rule at every look": fixed_again_and_again,
    "**fixed look, then e-values**": fixed_then_sequential,
    "e-values at every look": sequential,
}

Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
NOISE: dict[
    str, tuple[Draw, Draw]
] = {  # of arms and of the baseline, in images, standard deviations of about 7
    "normal": (lambda rng, shape: rng.normal(0, 7, shape),) * 2,
    "heavy tails (t, 3 degrees)": (lambda rng, shape: 4 * rng.standard_t(3, shape),) * 2,
    "whole images, many ties": (lambda rng, shape: np.round(rng.normal(0, 1, shape)),) * 2,
    "baseline alone skewed": (
        lambda rng, shape: rng.normal(0, 3, shape),
        lambda rng, shape: 7 * (rng.exponential(1, shape) - 1),
    ),
    "5 % of an arm's runs lose two points": (
        lambda rng, shape: rng.normal(0, 7, shape) - 200.0 * (rng.random(shape) < 0.05) + 10.0,
        lambda rng, shape: rng.normal(0, 7, shape),
    ),
}
SYMMETRIC = ("normal", "heavy tails (t, 3 degrees)", "whole images, many ties")


def differences(
    noise: str, studies: int, effects: Sequence[float], *, seeds: int = LOOKS[-1], seed: int = 0
) -> Array:
    """``(studies, arms, seeds)`` in images: what arms of these true mean differences give, paired with one baseline."""
    rng, (of_arm, of_baseline) = np.random.default_rng(seed), NOISE[noise]
    arms = of_arm(rng, (studies, len(effects), seeds))
    found: Array = arms - of_baseline(rng, (studies, 1, seeds)) + np.asarray(effects)[:, None]
    return found


Wrong = Callable[[Shown], Any]  # (studies,)
NOTHING, AT_MARGIN, BOTH = (0.0,) * ARMS, (-MARGIN,) * ARMS, (0.0, -MARGIN, -MARGIN)
QUESTIONS: dict[str, tuple[Sequence[float], Wrong]] = {
    "a false difference: no arm has an effect": (NOTHING, lambda shown: shown.difference.any(-1)),
    "a false equivalence (or `better`): every arm is worse by one margin": (
        AT_MARGIN,
        lambda shown: (shown.equivalence | shown.upwards).any(-1),
    ),
    "either: one arm has no effect, two are worse by one margin": (
        BOTH,
        lambda shown: shown.difference[:, 0] | (shown.equivalence | shown.upwards)[:, 1:].any(-1),
    ),
}


def measure(studies: int) -> Iterator[dict[str, Any]]:
    """A row for every question and kind of noise: of how many studies each rule errs in."""
    for question, (effects, wrong) in QUESTIONS.items():
        for noise in NOISE:
            d = differences(noise, studies, effects, seed=len(question))
            of = {
                name: studies // 20 if rule is fixed_again_and_again else studies
                for name, rule in RULES.items()
            }
            erred = {name: int(wrong(rule(d[: of[name]])).sum()) for name, rule in RULES.items()}
            print(f"{question}, {noise}: {erred}", file=sys.stderr)
            yield {"question": question, "noise": noise, "studies": of, "erred": erred}


def measure_eager(studies: int) -> Iterator[dict[str, Any]]:
    """False differences where a look follows every seed."""
    for noise in NOISE:
        d = differences(noise, studies, NOTHING, seeds=EAGER[-1], seed=1)
        first, later = fixed(d[..., : EAGER[0]]), sequential(d, EAGER)
        shown = {"one look, fixed rule": first, "**fixed look, then e-values**": first | later,
                 "e-values at every look": later}  # fmt: skip
        erred = {name: int(one.difference.any(-1).sum()) for name, one in shown.items()}
        print(f"after every seed, {noise}: {erred}", file=sys.stderr)
        yield {"noise": noise, "studies": dict.fromkeys(erred, studies), "erred": erred}


def page(content: dict[str, Any]) -> str:
    rows = content["rows"]
    text = f"""# The size of the whole procedure: a fixed look, then later ones

{content["date"]}, {content["environment"]}. Command: `{content["command"]}`. Simulated differences, no training: \
{max(rows[0]["studies"].values()):,} studies a row ({min(rows[0]["studies"].values()):,} for p-values at every \
look), three arms that share a baseline, looks at {", ".join(map(str, LOOKS))} seeds. \
Percent of studies in which any arm shows at any look what is not so, with 95 % intervals (Clopper–Pearson) behind. \
Sign flips by step-down, self-normalized e-values. Nominal: 5 for one kind of error under one rule; 10 for a fixed \
look and e-values after it, as for both kinds together.
"""
    for question in QUESTIONS:
        found = [row for row in rows if row["question"] == question]
        text += f"\n## {question[0].upper()}{question[1:]}\n\n{table(found)}"
    text += f"\n## A false difference: looks at {EAGER[0]} seeds and after every one up to {EAGER[-1]}\n\n"
    return f"""{text}{table(content["eager"])}
The last two kinds of noise break what both rules assume, that d is symmetric about its centre. Where the baseline \
alone is skewed, all arms lean the same way. Where 5 % of an arm's runs lose two points (its mean difference is as \
given), the few seeds of a study often have no lost run among them, and no test can know of it; e-values then find, \
rightly, that the centre of all other runs differs, which is not what was asked.
"""


def table(rows: Sequence[dict[str, Any]]) -> str:
    rules = list(rows[0]["erred"])
    lines = [f"| noise | {' | '.join(rules)} |", f"| --- |{' ---: |' * len(rules)}"]
    for row in rows:
        cells = (share(count, row["studies"][name]) for name, count in row["erred"].items())
        lines.append(f"| {row['noise']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def share(count: int, studies: int) -> str:
    low, high = stats.binomtest(count, studies).proportion_ci(0.95, method="exact")
    return f"{100 * count / studies:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/looks"), help="without a suffix")
    arguments = parser.parse_args()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy"))
    content = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
        "environment": f"regulab {regulab.__version__}, Python {platform.python_version()}, {versions}",
        "rows": list(measure(arguments.studies)),
        "eager": list(measure_eager(arguments.studies)),
    }
    write_whole(Path(f"{arguments.out}.json"), json_bytes(content))
    write_whole(Path(f"{arguments.out}.md"), page(content).encode())
    print(page(content))


if __name__ == "__main__":
    main()
