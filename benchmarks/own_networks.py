"""What a run costs in a fleet of four of a person's own networks, beside a loop written by hand.

Two networks for MNIST as courses write them, unchanged, and a ResNet-18 for 32×32 pixels, in float32 and in bfloat16.
The loop is PyTorch's own: images in memory, batches of 128, SGD with momentum, autocast where it is bfloat16. Loops and
fleets take turns in one process, round by round, so that noise of the machine hits all; an epoch of each before the
clock starts is left out. All have the memory settings that regulab trains with. Given are medians over rounds, and
medians of ratios: the loop's time for one run, over a quarter of the fleet's for four.

    python benchmarks/own_networks.py --out benchmarks/own_networks.md
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from regulab.config import build_study
from regulab.data.dataset import Images
from regulab.data.splits import Splits
from regulab.files import write_whole
from regulab.techniques import arms_of
from regulab.training.loop import make_trainer
from regulab.training.machine import choose_machine, process_settings
from regulab.training.planning import CHECKED_SEEDS, choose_engine
from regulab.training.setup import Setup

ZOO = Path(__file__).parent / "zoo"
RUNS, BATCH = 4, 128


@dataclass(frozen=True)
class Case:
    """A network, its images, how many steps a round has, and the precisions that are measured."""

    network: str
    shape: tuple[int, int, int]  # (C, H, W)
    steps: int
    precisions: tuple[str, ...] = ("fp32", "bf16")

    @property
    def name(self) -> str:
        return self.network.rpartition(":")[2]


FILE = ZOO / "full_size.py"
CASES = (
    Case(f"{FILE}:Notebook", (1, 28, 28), 5),
    Case(f"{FILE}:Example", (1, 28, 28), 5),
    Case(f"{FILE}:ResNet18", (3, 32, 32), 1, ("bf16",)),
)


def setup_of(case: Case, precision: str) -> Setup:
    study = build_study(
        {
            "name": "own networks",
            "model": {"name": case.network, "dropout": None},
            "arms": {"none": {}, "l2": {"l2": 0.0005}},
            "seeds": RUNS // 2,
            "train": {
                "batch_size": BATCH,
                "optimizer": {"name": "sgd", "lr": 0.01},
                "schedule": {"name": "constant"},
                "precision": precision,
            },
        }
    )
    channels, height, width = case.shape
    generator, count = np.random.default_rng(0), BATCH * case.steps
    pixels = generator.integers(0, 256, (count, height, width, channels)).astype(np.uint8)
    images = Images(pixels, np.arange(count, dtype=np.int64) % 10)
    splits = Splits(
        train=images,
        validation=images,
        open_test=lambda: images,
        class_names=tuple("0123456789"),
        index_hash="",
        content_hash="",
        dataset="random",
    )
    return Setup.of(study, splits, choose_machine("cpu", precision), arms_of(study))


def by_hand(setup: Setup, case: Case, precision: str) -> Callable[[], None]:
    """An epoch of a loop as anyone writes it."""
    model: nn.Module = setup.built(setup.runs()[0])
    for layer in model.modules():  # torch's own dropout, as the person's file has it
        if type(layer).__name__ in ("ElementDropout", "ChannelDropout"):
            layer.__class__ = nn.Dropout if type(layer).__name__ == "ElementDropout" else nn.Dropout2d
            vars(layer)["p"] = vars(layer)["rate"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.0005)
    x = setup.first_images(BATCH * case.steps)
    y = setup.images.labels[: len(x)]

    def epoch() -> None:
        model.train()
        for index in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = F.cross_entropy(model(x[index]), y[index])
            loss.backward()
            optimizer.step()

    return epoch


def fleet_of(setup: Setup) -> tuple[Callable[[], None], str]:
    checked = [setup.module(setup.run("none", seed)) for seed in range(CHECKED_SEEDS)]
    engine, reason = choose_engine(setup, checked)
    assert engine != "plain", reason
    fleet = make_trainer(engine, setup, setup.runs())
    epochs = iter(range(1, 10**6))

    def epoch() -> None:
        fleet.train_epoch(next(epochs))

    return epoch, engine


def seconds(epoch: Callable[[], None]) -> float:
    begin = time.perf_counter()
    epoch()
    return time.perf_counter() - begin


def measured(case: Case, rounds: int) -> str:
    """A row: ms of a step and run, of loop and fleet in each precision; what the fleet brings."""
    ways: dict[str, Callable[[], None]] = {}
    engine = ""
    with process_settings():
        for precision in case.precisions:
            setup = setup_of(case, precision)
            ways[f"loop {precision}"] = by_hand(setup, case, precision)
            ways[f"fleet {precision}"], engine = fleet_of(setup)
        for epoch in ways.values():
            epoch()
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, epoch in ways.items():
                times[name].append(seconds(epoch) / (RUNS if name.startswith("fleet") else 1))

    def shown(name: str) -> str:
        return f"{1000 / case.steps * statistics.median(times[name]):.1f}" if name in times else ""

    def ratio(loop: str, fleet: str) -> str:
        if loop not in times or fleet not in times:
            return ""
        return f"{statistics.median(a / b for a, b in zip(times[loop], times[fleet], strict=True)):.2f}"

    columns = [f"{case.name}, {'×'.join(map(str, case.shape))}", engine]
    columns += [shown(f"{kind} {precision}") for precision in ("fp32", "bf16") for kind in ("loop", "fleet")]
    columns += [
        ratio(f"loop {a}", f"fleet {b}") for a, b in (("fp32", "fp32"), ("bf16", "bf16"), ("fp32", "bf16"))
    ]
    return f"| {' | '.join(columns)} |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the table, Markdown")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="networks whose name has this")
    chosen = parser.parse_args(arguments)
    rows = []
    for case in CASES:
        if chosen.only in case.name:
            rows.append(measured(case, chosen.rounds))
            print(rows[-1], flush=True)
    command = shlex.join(["python", "benchmarks/own_networks.py", *(arguments or sys.argv[1:])])
    head = [
        "# What a run of a person's own network costs in a fleet of four",
        "",
        f"{datetime.date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} processors, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}. Command: `{command}`.",
        "",
        "Milliseconds for a step of 128 images and one run: medians over rounds that take turns.",
        "",
        "| network | engine | loop, fp32 | fleet, fp32 | loop, bf16 | fleet, bf16 | fp32 ÷ fp32 | bf16 ÷ bf16 | "
        "fp32 loop ÷ bf16 fleet |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    write_whole(chosen.out, ("\n".join([*head, *rows]) + "\n").encode())


if __name__ == "__main__":
    main()
