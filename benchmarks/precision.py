"""Does speed cost accuracy? Ways to train fast, each against one float32 plain loop that is trained once.

A way is a level of instructions (`levels.py`) and a precision: ``amx:bf16`` convolves on matrix units, ``avx512:bf16``
and ``avx2:fp32`` in float32 arithmetic, ``avx512_bf16:bf16`` by dot products where the processor's are fast. Without
``--ways`` it is what regulab takes by itself. All train the same short study whose accuracy is not saturated: MNIST,
5,000 training images, 10 epochs, dropout and rotation. They are studies of one name, so a seed means the same initial
weights, orders and draws in all, and the pairs are judged by `regulab.statistics.compare` like arms of one study, with
Holm's correction over the ways. A pilot on other seeds gives the spread of the differences, and the widest of them the
number of seeds: 90 % power to find equivalence within the margin where there is no difference. Stopped at any moment,
it goes on when given again. The result is a dated file of its own in results/.

    python benchmarks/precision.py
    python benchmarks/precision.py --ways amx:bf16 avx512:bf16 avx512:fp32 avx2:fp32
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dated
import levels
import numpy as np
from scipy import stats

from regulab.config import build_study
from regulab.data import data_root
from regulab.files import json_bytes
from regulab.records import StudyRecords
from regulab.run_directory.reading import read_records
from regulab.statistics import compare
from regulab.study import run

MARGIN, ALPHA, POWER = 0.1, 0.05, 0.9  # percentage points of test accuracy
PILOT = range(1000, 1012)
FEW = range(1000, 1002)  # of --few, which shows that all runs
REFERENCE, DEFAULT = "float32 plain loop", "fleet as by default"
PRECISIONS = ("bf16", "fp32")
TRAIN: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 128,
    "schedule": {"name": "one_cycle", "max_lr": 0.1},
}


@dataclass(frozen=True)
class Way:
    """A way to train: at a ``level`` at most, None for all that the processor has."""

    name: str
    train: Mapping[str, str]
    level: str | None = None

    @property
    def folder(self) -> str:
        return {REFERENCE: "plain", DEFAULT: "fleet"}.get(self.name, self.name.replace(":", "-"))


PLAIN = Way(REFERENCE, {"engine": "plain", "precision": "fp32"})


def way(name: str) -> Way:
    """From ``LEVEL:PRECISION``; raises `ValueError` for others, and for a level that this processor has not."""
    if name in (REFERENCE, DEFAULT):
        return PLAIN if name == REFERENCE else Way(DEFAULT, {})
    level, _, precision = name.partition(":")
    if level not in levels.SETTINGS or precision not in PRECISIONS:
        known = f"{', '.join(levels.SETTINGS)}, then : and {' or '.join(PRECISIONS)}"
        raise ValueError(f"--ways {name}: expected a level, {known}")
    levels.forced(level)
    return Way(name, {"precision": precision}, level)


def train(how: Way, seeds: Sequence[int], directory: Path) -> None:
    """Trains the study of one way, whose only arm has its name, in this process."""
    content = {
        "name": "precision",
        "data": {"name": "mnist", "train_images": 5000, "augment": {"rotate": 7}},
        "protocol": {"validation": 1000},  # nothing is chosen on it
        "endpoint": {"margin": MARGIN},
        "train": {**TRAIN, **how.train},
        "arms": {how.name: {}},
        "baseline": how.name,
        "seeds": list(seeds),
    }
    run(build_study(content), directory, data_root=data_root())


def trained(how: Way, seeds: range, folder: Path) -> StudyRecords:
    """The same in a process of its own, whose instructions are the way's: its records."""
    directory = folder / how.folder
    command = [
        sys.executable,
        __file__,
        "--train",
        how.name,
        str(seeds.start),
        str(seeds.stop),
        str(directory),
    ]
    settings = {} if how.level is None else levels.forced(how.level)
    subprocess.run(command, env={**os.environ, **settings}, check=True, stdout=sys.stderr)
    records = read_records(directory)
    return replace(records, results=tuple(r for r in records.results if r.seed in seeds))


def joined(reference: StudyRecords, *fast: StudyRecords) -> StudyRecords:
    """All ways as arms of one study."""
    arms = [one.study["arms"] for one in (reference, *fast)]
    return replace(
        reference,
        study={**reference.study, "arms": {name: arm for each in arms for name, arm in each.items()}},
        results=sum((one.results for one in fast), reference.results),
        predictions={key: one for each in (reference, *fast) for key, one in each.predictions.items()},
        orders={key: one for each in (reference, *fast) for key, one in each.orders.items()},
    )


def seeds_for_equivalence(spread: float) -> int:
    """n = (z(1−α) + z((1+power)/2))²·(spread/margin)²: two one-sided tests, both of which a true 0 must pass."""
    quantiles = stats.norm.isf(ALPHA) + stats.norm.ppf((1 + POWER) / 2)
    return max(7, math.ceil((float(quantiles) * spread / MARGIN) ** 2))


def spread(reference: StudyRecords, fast: StudyRecords) -> float:
    """Standard deviation of the paired differences, in points."""
    theirs = {r.seed: r.test_accuracy for r in reference.results}
    differences = [(r.test_accuracy or math.nan) - (theirs[r.seed] or math.nan) for r in fast.results]
    return float(np.std(np.array(differences, np.float64), ddof=1))


def page(content: dict[str, Any]) -> str:
    compared, first = content["comparison"], next(iter(content["environments"].values()))
    equal = {True: "equal", False: "different"}
    pairing = compared["pairing"]
    rows = [f"| {REFERENCE} | fp32 | | {compared['arms'][REFERENCE]['mean']:.3f} | | | |"]
    for name, environment in content["environments"].items():
        found = compared["arms"][name]
        low, high = found["difference_ci95"] or (math.nan, math.nan)
        p = found["equivalence_p_holm"]  # None of fewer seeds than a test needs
        how = environment.get("kernel_convolutions") or (
            "compiled" if environment["kernels"] else "torch's layers"
        )
        rows.append(
            f"| {name} | {environment['precision']} | {how} | {found['mean']:.3f} "
            f"| {found['difference']:+.3f} ({low:+.3f} to {high:+.3f}) "
            f"| {'–' if p is None else f'{p:.2g}'} | **{found['verdict']}** |"
        )
    table = "\n".join(rows)
    spreads = ", ".join(f"{value:.3f}" for value in content["pilot_spreads"].values())
    return f"""# Does speed cost accuracy?

{content["date"]}, {first["processor"]}, {first["threads"]} threads, regulab {first["regulab"]} \
({first["commit"]}), torch {first["libraries"]["torch"]}. Command: `{content["command"]}`.

Fleets trained in fast ways (level of instructions:precision) against the float32 plain loop: cnn10k on 5,000 MNIST \
images, 10 epochs, dropout 0.05, rotation within ±7°. A pilot of {content["pilot_seeds"]} other seeds found \
differences with standard deviations of {spreads} points, which \
asks for {content["seeds_asked"]} seeds ({100 * POWER:g} % power); {content["seeds"]} trained. Initial weights: \
{equal[pairing["initial_weights"]]}; data order: {equal[pairing["data_order"]]}.

| | precision | kernels | test accuracy (%), mean | paired difference (95 % interval), points \
| p for ±{MARGIN:g} points or more | |
| --- | --- | --- | ---: | ---: | ---: | --- |
{table}
"""


def measure(ways: Sequence[Way], folder: Path, few: bool) -> dict[str, Any]:
    """The pilot, then the study: what the page shows."""
    pilot = FEW if few else PILOT
    first, *others = (trained(how, pilot, folder / "pilot") for how in (PLAIN, *ways))
    spreads = {how.name: spread(first, found) for how, found in zip(ways, others, strict=True)}
    asked = seeds_for_equivalence(max(spreads.values()))
    seeds = range(len(FEW)) if few else range(asked)
    print(f"pilot: spreads {spreads} points, so {asked} seeds", file=sys.stderr, flush=True)
    reference, *fast = (trained(how, seeds, folder / "study") for how in (PLAIN, *ways))
    return {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
        "environments": {how.name: found.environment for how, found in zip(ways, fast, strict=True)},
        "pilot_seeds": len(pilot),
        "pilot_spreads": spreads,
        "seeds_asked": asked,
        "seeds": len(seeds),
        "comparison": compare(joined(reference, *fast)).to_json(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ways", nargs="+", default=[DEFAULT], metavar="LEVEL:PRECISION")
    parser.add_argument("--runs", type=Path, default=Path("runs/precision"), help="where the studies train")
    parser.add_argument(
        "--out", type=Path, help="a Markdown file that is not there yet; by default a dated one"
    )
    parser.add_argument("--few", action="store_true", help="two seeds: to see it run, not to judge")
    parser.add_argument(
        "--train", nargs=4, metavar=("WAY", "FIRST", "STOP", "DIRECTORY"), help="one way, here"
    )
    arguments = parser.parse_args()
    if arguments.train:
        name, start, stop, directory = arguments.train
        train(way(name), range(int(start), int(stop)), Path(directory))
        return
    try:
        ways = [way(name) for name in dict.fromkeys(arguments.ways)]
        out = dated.place(arguments.out, "precision", levels.as_word(levels.machine_name("cpu")))
    except (ValueError, FileExistsError) as problem:
        parser.error(str(problem))
    content = measure(ways, arguments.runs, arguments.few)
    dated.write(out, page(content), json_bytes(content).decode())
    print(page(content))


if __name__ == "__main__":
    main()
