"""How often does a study of identical arms find a difference? It should be in at most 5 % of studies.

Each study has four arms that are the same in everything but their name, and ``pairing: none``: initial weights, orders
and dropout of their own. So whatever differs between two arms is the luck of training, and every ``better``
or ``worse`` is false. Studies are small on purpose (digits, 300 training images, three epochs, seven seeds): the rate
of false verdicts is a matter of the rules, not of how well the networks have learned. Verdicts come from
`regulab.statistics.compare`, as in ``regulab run``. Study k takes the seeds 7k … 7k + 6, and several studies train as
one fleet.

Stopped at any moment, it goes on when given again; with more ``--studies`` it adds to those that are there.

    python benchmarks/aa_studies.py --studies 200 --out benchmarks/aa-studies
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from regulab.config import Study, build_study
from regulab.data import data_root, load
from regulab.data.splits import Splits
from regulab.files import json_bytes, write_whole
from regulab.records import COMPLETED, Predictions, Result, StudyRecords
from regulab.statistics import compare
from regulab.statistics.verdicts import ALPHA
from regulab.training.batches import ImageTensors
from regulab.training.environment import describe
from regulab.training.evaluate import accuracy, evaluate
from regulab.training.fleet import Fleet
from regulab.training.machine import process_settings
from regulab.training.setup import Setup, set_up

IMAGES, SEEDS, STUDIES_PER_FLEET = 300, 7, 4
STUDY: dict[str, Any] = {
    "name": "aa",
    "pairing": "none",
    "seeds": SEEDS,
    "train": {"epochs": 3, "batch_size": 50, "schedule": {"name": "one_cycle", "max_lr": 0.1}},
    "arms": {"none": {}, "twin 1": {}, "twin 2": {}, "twin 3": {}},
}


@dataclass(frozen=True)
class Measured:
    """One run on the test split: accuracy in percent, loss in nats, and its answers."""

    accuracy: float
    loss: float
    predictions: Predictions


def train(setup: Setup, test: ImageTensors, seeds: Sequence[int]) -> dict[tuple[str, int], Measured]:
    """Every arm and seed, all trained as one fleet."""
    runs = setup.runs(seeds)
    fleet = Fleet(setup, runs)
    for epoch in range(1, setup.study.train.epochs + 1):
        fleet.train_epoch(epoch)
    losses, predicted, confidence = evaluate(fleet, test, setup.preprocessing)
    accuracies, labels = accuracy(predicted, test.labels), test.labels.cpu().numpy()
    return {
        (run.arm, run.seed): Measured(
            float(accuracies[row]),
            float(losses[row]),
            Predictions(
                labels=labels,
                predicted=predicted[:, row].cpu().numpy(),
                confidence=confidence[:, row].float().cpu().numpy(),
            ),
        )
        for row, run in enumerate(runs)
    }


def judged(study: Study, measured: Mapping[tuple[str, int], Measured]) -> dict[str, Any]:
    """One study: the verdict, difference and p of each of its arms, and the baseline's mean and spread."""
    unmeasured: dict[str, Any] = dict.fromkeys(field.name for field in fields(Result))
    rest = unmeasured | {"status": COMPLETED, "epochs": study.train.epochs, "parameters": 0, "seconds": 0.0}
    results = [
        Result(**rest | {"arm": arm, "seed": seed, "test_accuracy": one.accuracy, "test_loss": one.loss})
        for (arm, seed), one in measured.items()
    ]
    records = StudyRecords(
        study=study.model_dump(mode="json")
        | {
            "seeds": sorted({seed for _, seed in measured}),
            "resolved": {"class_names": [str(digit) for digit in range(10)]},
        },
        environment={},
        history=(),
        results=tuple(results),
        predictions={run: one.predictions for run, one in measured.items()},
        mistakes=None,
    )
    arms = compare(records).arms
    return {
        "mean": arms[study.baseline].mean,
        "arms": {
            arm: {"verdict": one.verdict, "difference": one.difference, "p": one.p}
            for arm, one in arms.items()
            if arm != study.baseline
        },
    }


def summary(studies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many studies have a false verdict, and the Clopper–Pearson interval of their share."""
    verdicts = [[arm["verdict"] for arm in study["arms"].values()] for study in studies]
    false = sum(any(verdict in ("better", "worse") for verdict in study) for study in verdicts)
    interval = stats.binomtest(false, len(studies)).proportion_ci(0.95, method="exact")
    return {
        "studies": len(studies),
        "false": false,
        "share": false / len(studies),
        "mean": sum(study["mean"] for study in studies) / len(studies),
        "ci95": [float(interval.low), float(interval.high)],
        "equivalent_arms": sum(study.count("equivalent") for study in verdicts),
        "arms": sum(map(len, verdicts)),
    }


def page(content: dict[str, Any]) -> str:
    found, environment = content["summary"], content["environment"]
    low, high = found["ci95"]
    return f"""# Studies of identical arms

{content["date"]}, {environment["processor"]}, {environment["threads"]} threads, {environment["precision"]}, regulab \
{environment["regulab"]} ({environment["commit"]}), torch {environment["libraries"]["torch"]}. \
Command: `{content["command"]}`.

Small studies on real training (digits, {IMAGES} training images, {STUDY["train"]["epochs"]} epochs, {SEEDS} seeds) \
of four identical arms with streams of their own (`pairing: none`), judged as `regulab run` judges. \
Mean test accuracy: {found["mean"]:.1f} %. \
Every `better` or `worse` is false; at α = {ALPHA:g} at most {100 * ALPHA:g} % of studies may have one.

| studies | with a false verdict | share | 95 % interval (Clopper–Pearson) | arms found equivalent |
| ---: | ---: | ---: | ---: | ---: |
| {found["studies"]} | {found["false"]} | {100 * found["share"]:.1f} % | {100 * low:.1f} … {100 * high:.1f} % | \
{found["equivalent_arms"]} of {found["arms"]} |
"""


def write(path: Path, content: dict[str, Any]) -> None:
    content["summary"] = summary(content["studies"])
    write_whole(path.with_suffix(".json"), json_bytes(content))
    write_whole(path.with_suffix(".md"), page(content).encode())


def begun(path: Path, study: Study, environment: dict[str, Any]) -> dict[str, Any]:
    """What an earlier command left, or an empty start; raises `SystemExit` where it was of other studies."""
    fresh = {"identity": f"{study.identity()} on {IMAGES} images", "environment": environment, "studies": []}
    target = path.with_suffix(".json")
    if not target.exists():
        return fresh
    found: dict[str, Any] = json.loads(target.read_text())
    if found["identity"] != fresh["identity"]:
        raise SystemExit(f"{target} holds studies of another kind; choose another --out")
    return found


def run(count: int, path: Path) -> dict[str, Any]:
    study = build_study(STUDY)
    full = load(study.data, study.protocol, data_root())
    few = full.train.take(np.arange(IMAGES))
    splits = Splits(**{**vars(full), "train": few})
    setup = set_up(study, splits)
    test = ImageTensors.of(full.open_test(), setup.machine.device)
    content = begun(path, study, describe(setup.machine, splits))
    while (done := len(content["studies"])) < count:
        start, here = time.perf_counter(), range(done, min(count, done + STUDIES_PER_FLEET))
        measured = train(setup, test, range(here.start * SEEDS, here.stop * SEEDS))
        for k in here:
            own = {run: value for run, value in measured.items() if run[1] // SEEDS == k}
            content["studies"].append(judged(study, own))
        content |= {"date": datetime.date.today().isoformat(), "command": shlex.join(["python", *sys.argv])}
        write(path, content)
        print(f"{here.stop} of {count} studies, {time.perf_counter() - start:.1f} s", file=sys.stderr)
    return content


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/aa-studies"), help="without a suffix")
    arguments = parser.parse_args()
    with process_settings():
        content = run(arguments.studies, arguments.out)
    print(page(content))


if __name__ == "__main__":
    main()
