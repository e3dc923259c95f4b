"""Networks as people write them: which engine trains each, why, and how far a fleet is from the plain loops.

Every network of `zoo`, named as in a study file, trains with two arms and two seeds on random images: once as a fleet
of four, if it can, and once run by run in the plain loop. The deviation is the largest one of any weight (parameter or
buffer) after three steps; in float64, where it can only be rounding, and in float32.

    python benchmarks/networks.py --out benchmarks/networks.md
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from zoo import COURSE, ZOO, shape

from regulab.config import Study, build_study
from regulab.data.dataset import Images
from regulab.data.splits import Splits
from regulab.files import write_whole
from regulab.techniques import arms_of
from regulab.training.loop import make_trainer
from regulab.training.machine import Machine
from regulab.training.planning import CHECKED_SEEDS, choose_engine
from regulab.training.setup import Setup

CPU = torch.device("cpu")
FLOAT32 = Machine(CPU, torch.float32)
FLOAT64 = Machine(CPU, torch.float64, parameters=torch.float64)
IMAGES, BATCH = 24, 8  # three steps


@dataclass(frozen=True)
class Outcome:
    """``deviation``: none where the plain loop trains."""

    engine: str
    reason: str
    deviation: float | None


def study_of(name: str) -> Study:
    return build_study(
        {
            "name": "networks",
            "model": {"name": ZOO[name], "dropout": None},
            "arms": {"none": {}, "l2": {"l2": 0.01}},
            "seeds": 2,
            "train": {
                "epochs": 1,
                "batch_size": BATCH,
                "optimizer": {"name": "sgd", "lr": 0.01},
                "schedule": {"name": "constant"},
                "precision": "fp32",
            },
        }
    )


def random_images(name: str) -> Splits:
    """Ten classes in turn; a class has a brightness of its own, so that there is something to learn."""
    channels, height, width = shape(name)
    generator, labels = np.random.default_rng(0), np.arange(IMAGES) % 10
    noise = generator.integers(0, 128, (IMAGES, height, width, channels))
    images = Images((noise + 12 * labels[:, None, None, None]).astype(np.uint8), labels.astype(np.int64))
    names = tuple("0123456789")
    return Splits(
        train=images,
        validation=images,
        open_test=lambda: images,
        class_names=names,
        index_hash="",
        content_hash="",
        dataset="random",
    )


def outcome(name: str, machine: Machine) -> Outcome:
    study = study_of(name)
    setup = Setup.of(study, random_images(name), machine, arms_of(study))
    checked = [setup.module(setup.run("none", seed)) for seed in range(CHECKED_SEEDS)]
    engine, reason = choose_engine(setup, checked)
    if engine == "plain":
        return Outcome(engine, reason, None)
    runs = setup.runs()
    fleet = make_trainer(engine, setup, runs)
    fleet.train_epoch(1)
    together, largest = fleet.weights(), 0.0
    for position, run in enumerate(runs):
        plain = make_trainer("plain", setup, [run])
        plain.train_epoch(1)
        for key, value in plain.weights().items():
            apart = (together[key][position].double() - value[0].double()).abs().max()
            largest = max(largest, float(apart))
    return Outcome(engine, reason, largest)


def table(exact: dict[str, Outcome], single: dict[str, Outcome], command: str) -> str:
    count = Counter(one.engine for one in exact.values())
    course = sum(exact[name].engine in ("fleet", "followed") for name in COURSE)
    threads = f"{torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
    lines = [
        "# Networks as people write them",
        "",
        f"{datetime.date.today()}, torch {torch.__version__}, {threads}. Command: `{command}`.",
        "",
        f"Of {len(exact)} networks {count['fleet'] + count['followed']} train as fleets: {count['fleet']} with the "
        f"runs side by side in the channels (fleet), {count['followed']} with their own code followed (followed). "
        f"{count['vmap']} more share batches and draws through `torch.func.vmap`, and {count['plain']} train in the "
        f"plain loop. Of the {len(COURSE)} for MNIST as courses write them {course} are fleets. Deviations are the "
        "largest of any weight after three steps from that of the plain loops.",
        "",
        "| network | engine | float64 | float32 | why no fleet of rules |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for name, one in exact.items():
        values = [one.deviation, single[name].deviation]
        shown = " | ".join("" if value is None else f"{value:.1e}" for value in values)
        lines.append(f"| {name} | {one.engine} | {shown} | {one.reason} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the table, Markdown")
    chosen = parser.parse_args(arguments)
    exact, single = {}, {}
    for name in ZOO:
        exact[name], single[name] = outcome(name, FLOAT64), outcome(name, FLOAT32)
        print(name, exact[name], single[name].deviation, flush=True)
    command = shlex.join(["python", "benchmarks/networks.py", *(arguments or sys.argv[1:])])
    write_whole(chosen.out, table(exact, single, command).encode())


if __name__ == "__main__":
    main()
