"""How much sooner is a study decided, and is it as seldom wrong?

Simulated differences of arms that share a baseline, in their own standard deviation. First, one look at a fixed number
of seeds: Holm's correction against the step-down over shared sign flips. Second, a look after every seed: sign e-values
against self-normalized ones, at the same threshold.

    python benchmarks/deciding.py --studies 500 --out benchmarks/results/deciding-2026-11-27
"""

from __future__ import annotations

import argparse
import datetime
import math
import platform
import shlex
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import families
import numpy as np
from numpy.typing import NDArray
from scipy import stats

import regulab
from regulab.files import json_bytes, write_whole
from regulab.statistics.self_normalized import log_e_paths
from regulab.statistics.sequential import e_threshold
from regulab.statistics.sign_evidence import log_e_above, log_e_difference
from regulab.statistics.verdicts import ALPHA

Array = NDArray[Any]
SEEDS = ((3, 6), (3, 7), (7, 6), (7, 7), (7, 9))  # arms, seeds
MOST = 80  # seeds until which a study goes on
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.normal(0, 1, shape)


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_t(3, shape) / math.sqrt(3)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.exponential(1, shape) - 1


def little(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return 0.4 * rng.normal(0, 1, shape)


NOISE: dict[str, tuple[Draw, Draw]] = {
    "normal": (normal, normal),
    "heavy tails (t, 3 degrees)": (heavy, heavy),
    "all skewed alike (exponential)": (skewed, skewed),
    "baseline alone skewed": (little, skewed),
}


def differences(noise: str, studies: int, arms: int, n: int, seed: int) -> Array:
    """``(studies, arms, n)`` of mean 0 and standard deviation 1."""
    rng, (of_arm, of_baseline) = np.random.default_rng(seed), NOISE[noise]
    d: Array = of_arm(rng, (studies, arms, n)) - of_baseline(rng, (studies, 1, n))
    return d / math.sqrt(1.16 if noise.startswith("baseline") else 2)


def one_look(studies: int) -> Iterator[dict[str, Any]]:
    """Studies with a false difference (none differs; or all but two) and a false equivalence (all lie on the margin, by
    turns on either side; or two lie at 0), by either correction."""
    for noise in NOISE:
        for arms, n in SEEDS:
            d = differences(noise, studies, arms, n, seed=arms * n)
            some = d.copy()
            some[:, :-2] += 3
            margin = 2.0
            edge = d + margin * np.resize([1, -1], arms)[:, None]
            mixed = edge.copy()
            mixed[:, :2] = d[:, :2]
            found = {
                "difference, no arm differs": (families.difference(d), slice(None)),
                "difference, two arms do not differ": (families.difference(some), slice(-2, None)),
                "equivalence, no arm is": (families.equivalence(edge, margin), slice(None)),
                "equivalence, two arms are": (families.equivalence(mixed, margin), slice(2, None)),
            }
            erred = {
                name: [int((p[:, null] < ALPHA).any(-1).sum()) for p in (one.by_holm, one.stepped)]
                for name, (one, null) in found.items()
            }
            print(noise, arms, n, erred, file=sys.stderr)
            yield {"noise": noise, "arms": arms, "seeds": n, "studies": studies, "erred": erred}


def decided(studies: int) -> Iterator[dict[str, Any]]:
    """Share of the arms of normal studies that are decided rightly."""
    for arms, n in SEEDS:
        d, shares = differences("normal", studies, arms, n, seed=arms + n), {}
        for effect in (1.5, 2.0, 3.0):
            for name, some in (("all arms differ", d + effect), ("one arm differs", d.copy())):
                if name.startswith("one"):
                    some[:, 0] += effect
                of = slice(None) if name.startswith("all") else slice(0, 1)
                p = families.difference(some)
                shares[f"{name} by {effect:g}"] = _shares(p, of)
            p = families.equivalence(d, effect)
            shares[f"all arms equivalent, margin {effect:g}"] = _shares(p, slice(None))
        print(arms, n, shares, file=sys.stderr)
        yield {"arms": arms, "seeds": n, "studies": studies, "decided": shares}


def _shares(p: families.Adjusted, of: slice) -> list[float]:
    return [float((one[:, of] < ALPHA).mean()) for one in (p.by_holm, p.stepped)]


def seeds_to_a_decision(studies: int) -> Iterator[dict[str, Any]]:
    """Mean number of seeds until an arm's e-value reaches the threshold, ``MOST`` + 1 where it never does."""
    for noise in ("normal", "heavy tails (t, 3 degrees)"):
        for arms in (1, 3, 7):
            bar = math.log(e_threshold(arms, ALPHA))
            d, means = differences(noise, studies, 1, MOST, seed=arms)[:, 0], {}
            for effect in (0.75, 1.0, 1.5, 2.0, 3.0):
                x = d + effect
                both = np.logaddexp(log_e_paths(x), log_e_paths(-x)) - math.log(2)
                means[f"difference of {effect:g}"] = [
                    _first(_signs(log_e_difference, x) >= bar),
                    _first(both >= bar),
                ]
                low, high = d + effect, effect - d
                signs = np.minimum(_signs(log_e_above, low), _signs(log_e_above, high))
                paths = np.minimum(log_e_paths(low), log_e_paths(high))
                means[f"equivalence, margin {effect:g}"] = [_first(signs >= bar), _first(paths >= bar)]
            both = np.logaddexp(log_e_paths(d), log_e_paths(-d)) - math.log(2)
            false = [float((one >= bar).any(-1).mean()) for one in (_signs(log_e_difference, d), both)]
            print(noise, arms, means, false, file=sys.stderr)
            yield {"noise": noise, "arms": arms, "studies": studies, "means": means, "false": false}


def _first(reached: Array) -> float:
    return float(np.where(reached.any(-1), reached.argmax(-1) + 1, MOST + 1).mean())


def _signs(log_e: Callable[[Array, Array], Array], x: Array) -> Array:
    return log_e(np.cumsum(x > 0, -1), np.cumsum(x < 0, -1))


def page(content: dict[str, Any]) -> str:
    studies = content["one look"][0]["studies"]
    return f"""# What decides sooner

{content["date"]}, {content["environment"]}. Command: `{content["command"]}`. Simulated differences of arms that \
share a baseline, no training; {studies:,} studies a row; effects and margins in standard deviations of the difference.

## One look: false verdicts

Percent of studies with any, Holm's correction → step-down over shared sign flips, with a 95 % interval \
(Clopper–Pearson) of the latter. Nominal: 5. The margin is 2. Baseline alone skewed: no rule here is made for it.

{_false_table(content["one look"])}

## One look: what is decided

Percent of the arms in question that are decided, Holm's correction → step-down; normal noise.

{_decided_table(content["decided"])}

## A look after every seed: seeds to a decision

Mean over studies of an arm's seeds (at most {MOST}, then counted as {MOST + 1}), sign e-values → self-normalized \
e-values, at the threshold arms/0.05; false: percent of arms without effect that are ever called different, times arms.

{_seeds_table(content["seeds"])}
"""


def _false_table(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0]["erred"])
    lines = [f"| noise | arms | seeds | {' | '.join(names)} |", f"| --- |{' ---: |' * (len(names) + 2)}"]
    for row in rows:
        cells = []
        for before, after in row["erred"].values():
            low, high = stats.binomtest(after, row["studies"]).proportion_ci(0.95, method="exact")
            share = [100 * count / row["studies"] for count in (before, after)]
            cells.append(f"{share[0]:.1f} → {share[1]:.1f} ({100 * low:.1f}–{100 * high:.1f})")
        lines.append(f"| {row['noise']} | {row['arms']} | {row['seeds']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _decided_table(rows: list[dict[str, Any]]) -> str:
    heads = [f"{row['arms']} arms, {row['seeds']} seeds" for row in rows]
    lines = [f"| | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for name in rows[0]["decided"]:
        cells = [" → ".join(f"{100 * one:.0f}" for one in row["decided"][name]) for row in rows]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _seeds_table(rows: list[dict[str, Any]]) -> str:
    heads = [f"{row['noise']}, {row['arms']} arm{'s' if row['arms'] > 1 else ''}" for row in rows]
    lines = [f"| | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for name in rows[0]["means"]:
        cells = []
        for row in rows:
            before, after = row["means"][name]
            cells.append(
                f"{before:.1f} → {after:.1f} ({100 * (after / before - 1):+.0f} %)".replace("-", "−")
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    cells = [" → ".join(f"{100 * row['arms'] * one:.1f}" for one in row["false"]) for row in rows]
    return "\n".join([*lines, f"| false | {' | '.join(cells)} |"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--out", type=Path, required=True, help="without a suffix")
    arguments = parser.parse_args()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy"))
    content = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
        "environment": f"regulab {regulab.__version__}, Python {platform.python_version()}, {versions}",
        "one look": list(one_look(arguments.studies)),
        "decided": list(decided(arguments.studies)),
        "seeds": list(seeds_to_a_decision(arguments.studies)),
    }
    write_whole(Path(f"{arguments.out}.json"), json_bytes(content))
    write_whole(Path(f"{arguments.out}.md"), page(content).encode())
    print(page(content))


if __name__ == "__main__":
    main()
