"""Does speed cost accuracy? The fleet as it trains by default, bf16 and kernels included, against float32 plain loops.

Both train the same short study whose accuracy is not saturated: MNIST, 5,000 training images, 10 epochs, dropout and
rotation. They are two studies of one name, so a seed means the same initial weights, orders and draws in both, and the
pairs are judged by `regulab.statistics.compare` like two arms. A pilot on other seeds gives the spread of the
differences, and that the number of seeds: 90 % power to find equivalence within the margin where there is no
difference. Stopped at any moment, it goes on when given again.

    python benchmarks/precision.py --out benchmarks/precision
"""

from __future__ import annotations

import argparse
import datetime
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from regulab.config import build_study
from regulab.data import data_root
from regulab.files import json_bytes, write_whole
from regulab.records import StudyRecords
from regulab.run_directory.reading import read_records
from regulab.statistics import compare
from regulab.study import run

MARGIN, ALPHA, POWER = 0.1, 0.05, 0.9  # percentage points of test accuracy
PILOT = range(1000, 1012)
REFERENCE, FAST = "float32 plain loop", "fleet as by default"
TRAIN: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 128,
    "schedule": {"name": "one_cycle", "max_lr": 0.1},
}
HOW: dict[str, dict[str, Any]] = {REFERENCE: {"engine": "plain", "precision": "fp32"}, FAST: {}}


def trained(how: str, seeds: Sequence[int], folder: Path) -> StudyRecords:
    """The records of one way to train, whose only arm has its name."""
    content = {
        "name": "precision",
        "data": {"name": "mnist", "train_images": 5000, "augment": {"rotate": 7}},
        "protocol": {"validation": 1000},  # nothing is chosen on it
        "endpoint": {"margin": MARGIN},
        "train": TRAIN | HOW[how],
        "arms": {how: {}},
        "baseline": how,
        "seeds": list(seeds),
    }
    directory = folder / ("plain" if how == REFERENCE else "fleet")
    run(build_study(content), directory, data_root=data_root())
    records = read_records(directory)
    return replace(records, results=tuple(r for r in records.results if r.seed in seeds))


def joined(reference: StudyRecords, fast: StudyRecords) -> StudyRecords:
    """Both ways as two arms of one study."""
    study = {**reference.study, "arms": {**reference.study["arms"], **fast.study["arms"]}}
    return replace(
        reference,
        study=study,
        results=reference.results + fast.results,
        predictions={**reference.predictions, **fast.predictions},
        orders={**reference.orders, **fast.orders},
    )


def seeds_for_equivalence(spread: float) -> int:
    """n = (z(1−α) + z((1+power)/2))²·(spread/margin)²: two one-sided tests, both of which a true 0 must pass."""
    quantiles = stats.norm.isf(ALPHA) + stats.norm.ppf((1 + POWER) / 2)
    return max(7, math.ceil((float(quantiles) * spread / MARGIN) ** 2))


def page(content: dict[str, Any]) -> str:
    found, environment = content["comparison"]["arms"][FAST], content["environment"]
    low, high = found["difference_ci95"]
    equal = {True: "equal", False: "different"}
    pairing = content["comparison"]["pairing"]
    return f"""# Does speed cost accuracy?

{content["date"]}, {environment["processor"]}, {environment["threads"]} threads, regulab {environment["regulab"]} \
({environment["commit"]}), torch {environment["libraries"]["torch"]}. Command: `{content["command"]}`.

A fleet as it trains by default on this machine ({content["precision"]}, compiled kernels: \
{"yes" if content["kernels"] else "no"}) against the float32 plain loop: cnn10k on 5,000 MNIST images, 10 epochs, \
dropout 0.05, rotation within ±7°. A pilot of {len(PILOT)} other seeds found differences with a standard deviation of \
{content["pilot_spread"]:.3f} points, which asks for {content["seeds"]} seeds ({100 * POWER:g} % power). Initial \
weights: {equal[pairing["initial_weights"]]}; data order: {equal[pairing["data_order"]]}.

| | test accuracy (%), mean |
| --- | ---: |
| {REFERENCE} | {content["comparison"]["arms"][REFERENCE]["mean"]:.3f} |
| {FAST} | {found["mean"]:.3f} |

Paired difference {found["difference"]:+.3f} points (95 % interval {low:+.3f} to {high:+.3f}), \
p = {found["equivalence_p_holm"]:.2g} for a difference of ±{MARGIN:g} points or more: **{found["verdict"]}**.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/precision"), help="where the two studies train"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/precision"), help="without a suffix")
    arguments = parser.parse_args()
    pilots = [trained(how, PILOT, arguments.runs / "pilot") for how in HOW]
    accuracies = [np.array([r.test_accuracy for r in pilot.results], np.float64) for pilot in pilots]
    spread = float(np.std(accuracies[1] - accuracies[0], ddof=1))
    seeds = range(seeds_for_equivalence(spread))
    print(f"pilot: spread {spread:.3f} points, so {len(seeds)} seeds", file=sys.stderr, flush=True)
    reference, fast = (trained(how, seeds, arguments.runs / "study") for how in HOW)
    content = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
        "environment": fast.environment,
        "precision": fast.environment["precision"],
        "kernels": fast.environment["kernels"],
        "pilot_spread": spread,
        "seeds": len(seeds),
        "comparison": compare(joined(reference, fast)).to_json(),
    }
    write_whole(arguments.out.with_suffix(".json"), json_bytes(content))
    write_whole(arguments.out.with_suffix(".md"), page(content).encode())
    print(page(content))


if __name__ == "__main__":
    main()
