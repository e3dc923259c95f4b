"""What a run costs in a fleet of a person's own networks, beside a loop written by hand and regulab's plain loop.

Networks as people write them, unchanged, in float32 and in bfloat16. The loop is PyTorch's own: images in memory,
batches of 128, SGD with momentum, autocast where it is bfloat16. Loops and fleets take turns in one process, round by
round, so that noise of the machine hits all; an epoch of each before the clock starts is left out. All have the memory
settings that regulab trains with. Given are medians over rounds, and medians of ratios: the loop's time for one run,
over the fleet's for each of its runs. A network that the planner leaves to the plain loop is put into a fleet all the
same, to see what that would cost, and marked.

    python benchmarks/own_networks.py --out benchmarks/results/own-networks-DATE.md
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from regulab.training import planning
from regulab.training.environment import processor
from regulab.training.loop import make_trainer
from regulab.training.machine import choose_machine, process_settings
from regulab.training.planning import CHECKED_SEEDS, choose_engine
from regulab.training.setup import Setup

HERE = Path(__file__).parent
BATCH = 128


@dataclass(frozen=True)
class Case:
    """A network, its images, and how many steps a round has."""

    network: str
    shape: tuple[int, int, int]  # (C, H, W)
    steps: int = 1

    @property
    def name(self) -> str:
        return self.network.rpartition(":")[2]


FULL_SIZE, KINDS = HERE / "zoo" / "full_size.py", HERE / "peers" / "kinds.py"
GREY, COLOUR = (1, 28, 28), (3, 32, 32)
CASES = (
    Case(f"{FULL_SIZE}:Notebook", GREY, 5),
    Case(f"{FULL_SIZE}:Example", GREY, 5),
    Case(f"{FULL_SIZE}:FirstExample", GREY, 2),
    Case(f"{KINDS}:SmallConvNet", GREY, 3),
    Case(f"{FULL_SIZE}:ResNet20", COLOUR, 2),
    Case(f"{FULL_SIZE}:ResNet18", COLOUR),
    Case(f"{KINDS}:NarrowResNet18", COLOUR, 2),
    Case(f"{FULL_SIZE}:Pairs", COLOUR),
    Case(f"{KINDS}:DenseNet", GREY),
    Case(f"{FULL_SIZE}:Mobile", COLOUR),
    Case(f"{KINDS}:MLP", GREY, 10),
    Case(f"{KINDS}:ViT", GREY),
    Case(f"{KINDS}:Mixer", GREY, 2),
    Case(f"{KINDS}:RowLSTM", GREY, 3),
)


def setup_of(case: Case, precision: str, runs: int) -> Setup:
    study = build_study(
        {
            "name": "own networks",
            "model": {"name": case.network, "dropout": None},
            "arms": {"none": {}, "l2": {"l2": 0.0005}},
            "seeds": runs // 2,
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


def trained(setup: Setup, engine: str, runs: int) -> Callable[[], None]:
    """An epoch of one of regulab's engines."""
    trainer = make_trainer(engine, setup, setup.runs()[:runs])
    epochs = iter(range(1, 10**6))

    def epoch() -> None:
        trainer.train_epoch(next(epochs)).loss.tolist()

    return epoch


def engine_of(setup: Setup) -> tuple[str, bool]:
    """Which engine holds the runs together, and whether the planner would leave them apart because that is faster."""
    checked = [setup.module(setup.run("none", seed)) for seed in range(CHECKED_SEEDS)]
    engine, _ = choose_engine(setup, checked)
    if engine != "plain":
        return engine, False
    rule, planning._faster_alone = planning._faster_alone, lambda *_: ""
    try:
        together, reason = choose_engine(setup, checked)
    finally:
        planning._faster_alone = rule
    assert together != "plain", reason
    return together, True


def seconds(epoch: Callable[[], None]) -> float:
    begin = time.perf_counter()
    epoch()
    return time.perf_counter() - begin


def measured(case: Case, precisions: Sequence[str], runs: int, rounds: int) -> list[str]:
    """A row for each precision: ms of a step and run by hand, in the plain loop, in the fleet; and the ratios."""
    ways: dict[tuple[str, str], Callable[[], None]] = {}
    engines: dict[str, str] = {}
    with process_settings():
        for precision in precisions:
            setup = setup_of(case, precision, runs)
            engine, apart = engine_of(setup)
            engines[precision] = f"{engine}*" if apart else engine
            ways["hand", precision] = by_hand(setup, case, precision)
            ways["plain", precision] = trained(setup, "plain", 1)
            ways["fleet", precision] = trained(setup, engine, runs)
        for epoch in ways.values():
            epoch()
        times: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, epoch in ways.items():
                times[way].append(seconds(epoch) / (runs if way[0] == "fleet" else 1))

    def row(precision: str) -> str:
        def ratio(loop: str, of: str = precision) -> str:
            if (loop, of) not in times:
                return ""
            pairs = zip(times[loop, of], times["fleet", precision], strict=True)
            return f"{statistics.median(a / b for a, b in pairs):.2f}"

        shown = [
            f"{1000 / case.steps * statistics.median(times[kind, precision]):.1f}"
            for kind in ("hand", "plain", "fleet")
        ]
        against = [ratio("hand"), ratio("plain"), ratio("hand", "fp32")]
        name = f"{case.name}, {'×'.join(map(str, case.shape))}"
        return f"| {' | '.join([name, precision, engines[precision], *shown, *against])} |"

    return [row(precision) for precision in precisions]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="the table, Markdown")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=4, help="of a fleet, an even number")
    parser.add_argument("--steps", type=float, default=1, help="so many times the steps of a round")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES])
    chosen = parser.parse_args(arguments)
    rows = []
    for case in CASES:
        if chosen.only is None or case.name in chosen.only:
            case = replace(case, steps=max(1, round(chosen.steps * case.steps)))
            rows += measured(case, chosen.precision, chosen.runs, chosen.rounds)
            print(*rows[-len(chosen.precision) :], sep="\n", flush=True)
    command = shlex.join(["python", "benchmarks/own_networks.py", *(arguments or sys.argv[1:])])
    head = [
        f"# What a run of a person's own network costs in a fleet of {chosen.runs}",
        "",
        f"{datetime.date.today()}, {processor()}, {os.cpu_count()} processors, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}. Command: `{command}`.",
        "",
        f"Milliseconds for a step of {BATCH} images and one run: medians over {chosen.rounds} rounds that take turns.",
        "*: left to itself the planner trains these runs one by one, as that is faster.",
        "",
        "| network | precision | engine | loop by hand | plain loop | fleet | by hand ÷ fleet | plain ÷ fleet | "
        "fp32 by hand ÷ fleet |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    if chosen.out:
        write_whole(chosen.out, ("\n".join([*head, *rows]) + "\n").encode())


if __name__ == "__main__":
    main()
