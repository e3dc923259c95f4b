"""What each regularizer and norm costs a step: a fleet of four runs with it against a fleet of four without.

The arms are those of the built-in study `everything`: `cnn10k`, four seeds of one arm side by side, batches of 128
images of 28 × 28 pixels (made, as what they show costs nothing), in the precision and with the kernels that this
machine trains with. An arm's fleet and the one without anything take turns, an epoch of ten steps each; time of the
process, the median of the ratios of neighbours. Making the batches is part of a step, validation is not; what ends an
epoch, such as the averages of SWA's norms made anew, is shared out among its steps.

    python benchmarks/catalogue.py --out benchmarks/catalogue
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regulab.config import build_study
from regulab.config.loading import load_mapping
from regulab.data.dataset import Images
from regulab.data.splits import Splits
from regulab.errors import UserError
from regulab.files import json_bytes, write_whole
from regulab.techniques import arms_of, legends
from regulab.training.environment import describe
from regulab.training.loop import make_trainer
from regulab.training.machine import choose_machine, process_settings
from regulab.training.planning import choose_engine
from regulab.training.setup import Setup
from regulab.training.teaching import untrained
from regulab.training.trainer import Trainer

RUNS, BATCH, STEPS, SIDE = 4, 128, 10, 28
BASELINE = "none"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of an arm: milliseconds of a step of the fleet, and how often that of the fleet without anything."""

    arm: str
    legend: str
    engine: str
    milliseconds: float
    ratio: float


def setup_of(rounds: int) -> Setup:
    """The arms of `everything` on made images, for four times the epochs that are measured."""
    content, _ = load_mapping("everything")
    train = {**content["train"], "batch_size": BATCH, "epochs": 4 * (rounds + 1)}
    study = build_study({**content, "name": "catalogue", "train": train, "seeds": RUNS})
    draws = np.random.default_rng(0)
    pixels = draws.integers(0, 256, (STEPS * BATCH, SIDE, SIDE, 1), np.uint8)
    images = Images(pixels, draws.integers(0, 10, len(pixels)))
    splits = Splits(
        train=images,
        validation=images,
        open_test=lambda: images,
        class_names=tuple("0123456789"),
        index_hash="",
        content_hash="",
        dataset="made",
    )
    return Setup.of(study, splits, choose_machine("auto", "auto"), arms_of(study))


class Timed:
    """The trainers of four seeds of one arm; an epoch of `STEPS` steps at a time, from the last quarter of training on,
    so that what begins late (SWA) has begun."""

    def __init__(self, setup: Setup, arm: str) -> None:
        runs = [setup.run(arm, seed) for seed in range(RUNS)]
        self.engine, _ = choose_engine(setup, [setup.module(run) for run in runs[:3]])
        groups = [[run] for run in runs] if self.engine == "plain" else [runs]
        taught = [run for run in map(setup.teacher, runs) if run is not None]
        # Weights that have not trained cost what those do that have.
        teachers = {(run.arm, run.seed): untrained(setup, run, self.engine) for run in taught}
        self._trainers: Sequence[Trainer] = [
            make_trainer(self.engine, setup, group, teachers) for group in groups
        ]
        self._epoch = setup.study.train.epochs * 3 // 4

    def seconds(self) -> float:
        """Of the process, for a step of all four."""
        self._epoch += 1
        start = time.process_time()
        for trainer in self._trainers:
            trainer.train_epoch(self._epoch).loss.tolist()
        return (time.process_time() - start) / STEPS


def measured(setup: Setup, rounds: int) -> list[Cost]:
    texts, found = legends(setup.study, setup.arms), list[Cost]()
    for arm in setup.arms:
        try:
            with_it, without = Timed(setup, arm), Timed(setup, BASELINE)
        except UserError as problem:
            print(f"{arm}: {problem}", file=sys.stderr)
            continue
        with_it.seconds(), without.seconds()
        pairs = [(with_it.seconds(), without.seconds()) for _ in range(rounds)]
        milliseconds = 1e3 * statistics.median(own for own, _ in pairs)
        ratio = statistics.median(own / other for own, other in pairs)
        found.append(
            Cost(arm=arm, legend=texts[arm], engine=with_it.engine, milliseconds=milliseconds, ratio=ratio)
        )
        print(f"{arm}: {ratio:.2f}", file=sys.stderr, flush=True)
    return found


def page(content: dict[str, Any]) -> str:
    machine = content["environment"]
    rows = [
        f"| {cost['legend']} | {cost['engine']} | {cost['milliseconds']:.1f} | {cost['ratio']:.2f} |"
        for cost in content["costs"]
    ]
    return f"""# What each regularizer and norm costs

{content["date"]}, {machine["processor"]}, {torch.get_num_threads()} thread(s), regulab {machine["regulab"]} \
({machine["commit"]}), torch {machine["libraries"]["torch"]}. Command: `{content["command"]}`.

A training step of four runs (`cnn10k`, {BATCH} images of {SIDE} × {SIDE}, {content["precision"]}), which train \
together where the engine is not `plain`: milliseconds of processor time, and how often that of four runs without \
anything, the median of {content["rounds"]} neighbouring pairs. The row of the baseline itself says how exact the \
ratios are.

| arm | engine | ms a step | × none |
| --- | --- | ---: | ---: |
{chr(10).join(rows)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/catalogue"), help="without a suffix")
    arguments = parser.parse_args()
    with process_settings(torch.get_num_threads()):  # as in training: freed memory stays the process's own
        setup = setup_of(arguments.rounds)
        costs = measured(setup, arguments.rounds)
    content = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
        "environment": describe(setup.machine, setup.splits),
        "precision": setup.machine.precision,
        "rounds": arguments.rounds,
        "costs": [asdict(cost) for cost in costs],
    }
    write_whole(arguments.out.with_suffix(".json"), json_bytes(content))
    write_whole(arguments.out.with_suffix(".md"), page(content).encode())
    print(page(content))


if __name__ == "__main__":
    main()
