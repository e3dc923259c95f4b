"""What every operation of augmentation costs beside the training step that it feeds.

A batch of 128 images for each of 4 seeds, grey of 28 × 28 and colour of 64 × 64 pixels, one thread, at each operation's
first example. The step is that of a fleet of four `cnn10k` on the same images without augmentation, in the precision
and with the kernels that this machine trains with. Time of the process, the median of several rounds in which all are
measured in turn, so that what slows the machine slows them alike.

    python benchmarks/augmentation.py --out benchmarks/augmentation
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regulab.config import build_study, validate
from regulab.data import Images
from regulab.data.augmentation import AugmentSettings, all_operations, augment, columns_of
from regulab.data.splits import Splits
from regulab.files import json_bytes, write_whole
from regulab.techniques import arms_of
from regulab.training.environment import describe
from regulab.training.fleet import Fleet
from regulab.training.machine import choose_machine, process_settings
from regulab.training.setup import Setup

SEEDS, BATCH, THREADS = 4, 128, 1
KINDS = {"28 × 28 grey": (28, 1), "64 × 64 colour": (64, 3)}
SETS: dict[str, dict[str, Any]] = {
    **{name: kind.examples()[0] for name, kind in all_operations().items()},
    "affine, fill mean": {"rotate": 15, "fill": "mean"},
    "crop and flip (CIFAR)": {"crop": 4, "flip": True},
    "colour jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
}


def pixels(side: int, channels: int) -> np.ndarray:
    """uint8 ``(SEEDS·BATCH, side, side, channels)``."""
    return np.random.default_rng(0).integers(0, 256, (SEEDS * BATCH, side, side, channels), dtype=np.uint8)


def changing(said: dict[str, Any], images: Tensor) -> Callable[[], object] | None:
    """One batch changed; None where the images do not suit the settings."""
    settings = validate(AugmentSettings, said, "augment")
    channels, height, width = images.shape[1:]
    if settings.refusal(channels, height, width):
        return None
    generator = torch.Generator().manual_seed(1)
    draws = {
        name: torch.rand(len(images), columns, generator=generator)
        for name, columns in columns_of([settings]).items()
    }
    operations, mean = settings.operations(), torch.full((channels, 1, 1), 0.5)
    return lambda: augment(images, draws, operations, mean)


def splits_of(side: int, channels: int) -> Splits:
    """One batch of images for each seed."""
    images = Images(pixels=pixels(side, channels)[:BATCH], labels=np.arange(BATCH) % 10)
    return Splits(
        train=images,
        validation=images,
        open_test=lambda: images,
        class_names=tuple("0123456789"),
        index_hash="",
        content_hash="",
        dataset="made up",
    )


def stepping(side: int, channels: int) -> Callable[[], object]:
    """One step of a fleet of four seeds."""
    study = build_study(
        {"name": "augmentation", "seeds": SEEDS, "arms": {"none": {}}, "train": {"batch_size": BATCH}}
    )
    setup = Setup.of(study, splits_of(side, channels), choose_machine("cpu", "auto"), arms_of(study))
    fleet = Fleet(setup, setup.runs())
    epochs = iter(range(1, 1_000_000))
    return lambda: fleet.train_epoch(next(epochs))  # an epoch is one step


def measured(rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds by kind of image and what was done, the step among them."""
    found: dict[str, dict[str, float]] = {}
    for kind, (side, channels) in KINDS.items():
        images = torch.from_numpy(pixels(side, channels)).permute(0, 3, 1, 2).float().div_(255)
        done = {"training step": stepping(side, channels)}
        done |= {name: one for name, said in SETS.items() if (one := changing(said, images)) is not None}
        times: dict[str, list[float]] = {name: [] for name in done}
        for _ in range(rounds + 1):
            for name, one in done.items():
                start = time.process_time()
                one()
                times[name].append(1e3 * (time.process_time() - start))
        found[kind] = {name: statistics.median(taken[1:]) for name, taken in times.items()}
        print(f"{kind}: {len(done)} measured", file=sys.stderr, flush=True)
    return found


def page(content: dict[str, Any]) -> str:
    machine, milliseconds = content["environment"], content["milliseconds"]
    rows = []
    for name in ("training step", *SETS):
        cells = []
        for kind in KINDS:
            taken = milliseconds[kind].get(name)
            share = "" if taken is None else f"{100 * taken / milliseconds[kind]['training step']:.0f} %"
            cells += ["–" if taken is None else f"{taken:.1f}", share]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return f"""# What augmentation costs

{content["date"]}, {machine["processor"]}, {THREADS} thread, regulab {machine["regulab"]} ({machine["commit"]}), \
torch {machine["libraries"]["torch"]}. Command: `{content["command"]}`.

Milliseconds of processor time for a batch of {BATCH} images for each of {SEEDS} seeds, the median of \
{content["rounds"]} rounds, and their share of the step of a fleet of four `cnn10k` ({content["precision"]}).

| | {" | | ".join(KINDS)} | |
| --- | {" | ".join(["---:"] * 2 * len(KINDS))} |
{chr(10).join(rows)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/augmentation"), help="without a suffix")
    arguments = parser.parse_args()
    machine = choose_machine("cpu", "auto")
    with process_settings(THREADS):  # as in training: freed memory stays the process's own
        found = measured(arguments.rounds)
    content = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
        "environment": describe(machine, splits_of(*next(iter(KINDS.values())))),
        "precision": machine.precision,
        "rounds": arguments.rounds,
        "milliseconds": found,
    }
    write_whole(arguments.out.with_suffix(".json"), json_bytes(content))
    write_whole(arguments.out.with_suffix(".md"), page(content).encode())
    print(page(content))


if __name__ == "__main__":
    main()
