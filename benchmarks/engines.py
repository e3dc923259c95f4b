"""Which engine trains a network faster: a fleet, one whose code is followed, vmap, or the plain loop.

Four runs together against one run alone, per run: milliseconds of processor time of a training step (all engines in one
process, in turn, medians), and how many operations reach the device for it, which on a GPU is what
a small network's step takes. Images are made, as what they show costs nothing;
views and empty tensors are no operations.

    OMP_NUM_THREADS=1 python benchmarks/engines.py --out benchmarks/engines.md
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regulab.training.setup import Setup
    from regulab.training.trainer import Trainer

NETWORKS = Path(__file__).parent / "peers" / "kinds.py"
ENGINES = ("plain", "fleet", "followed", "vmap")
RUNS = 4


@dataclass(frozen=True)
class Kind:
    """A network of `peers/kinds.py`, and the images that it gets."""

    text: str
    pixels: int = 28
    channels: int = 1
    batch: int = 128


KINDS = {
    "SmallConvNet": Kind("small CNN"),
    "DenseNet": Kind("DenseNet, growth 12, batches of 32", batch=32),
    "NarrowResNet18": Kind("ResNet-18, width 16, 32×32, batches of 32", 32, 3, batch=32),
    "ResNet18": Kind("ResNet-18, width 64, 32×32, batches of 8", 32, 3, batch=8),
    "MLP": Kind("MLP"),
    "ViT": Kind("ViT, width 64, patches of 7×7"),
    "Mixer": Kind("MLP-Mixer, width 64"),
    "RowLSTM": Kind("LSTM over rows"),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A kind of network under one engine: per run and step."""

    kind: str
    precision: str
    engine: str
    milliseconds: float | None  # None: the engine does not take it
    operations: int | None
    reason: str = ""


def setup_of(name: str, kind: Kind, precision: str, steps: int) -> Setup:
    """Made images for so many steps; runs of four seeds, none of them with a penalty."""
    import numpy as np

    from regulab import techniques
    from regulab.config import build_study
    from regulab.data.dataset import Images
    from regulab.data.splits import Splits
    from regulab.training.machine import choose_machine
    from regulab.training.setup import Setup

    count = steps * kind.batch
    draws = np.random.default_rng(0)
    pixels = draws.integers(0, 256, (count, kind.pixels, kind.pixels, kind.channels), np.uint8)
    images = Images(pixels, draws.integers(0, 10, count))
    study = build_study(
        {
            "name": "engines",
            "model": {"name": f"{NETWORKS}:{name}"},
            "train": {"batch_size": kind.batch, "precision": precision},
            "arms": {"none": {}},
            "seeds": RUNS,
        }
    )
    names = tuple(map(str, range(10)))
    splits = Splits(
        train=images, validation=images, open_test=lambda: images, class_names=names, index_hash="",
        content_hash="", dataset="made",
    )  # fmt: skip
    return Setup.of(study, splits, choose_machine("auto", precision), techniques.arms_of(study))


def measured(name: str, precision: str, steps: int, rounds: int, engines: Sequence[str]) -> list[Row]:
    """Each engine trains an epoch of ``steps`` steps unmeasured, then one in each round, by turns."""
    from regulab.models.stacking import stack_modules
    from regulab.training.loop import make_trainer
    from regulab.training.stack_check import check_stack
    from regulab.training.vmapped import VmappedNetwork

    checks: dict[str, Any] = {
        "fleet": stack_modules,
        "followed": partial(stack_modules, followed=True),
        "vmap": VmappedNetwork,
    }

    kind, rows = KINDS[name], []
    setup = setup_of(name, kind, precision, steps)
    trainers: dict[str, Trainer] = {}
    for engine in engines:
        runs = setup.runs()[: 1 if engine == "plain" else RUNS]
        try:
            if engine in checks:
                modules = [setup.module(run) for run in setup.runs()[:3]]
                check_stack(modules, setup.first_images(8), checks[engine])
            trainer = make_trainer(engine, setup, runs)
            trainer.train_epoch(1).loss.tolist()
            trainers[engine] = trainer
        except Exception as problem:  # a person's forward pass may fail in any way
            rows.append(
                Row(kind=name, precision=precision, engine=engine, milliseconds=None, operations=None,
                    reason=str(problem))
            )  # fmt: skip
    seconds: dict[str, list[float]] = {engine: [] for engine in trainers}
    for turn in range(rounds):
        for engine, trainer in trainers.items():
            start = time.process_time()
            trainer.train_epoch(2 + turn).loss.tolist()
            seconds[engine].append((time.process_time() - start) / steps / len(trainer.runs))
    for engine, trainer in trainers.items():
        found = round(operations(trainer, 2 + rounds) / steps / len(trainer.runs))
        median = round(1e3 * statistics.median(seconds[engine]), 2)
        rows.append(Row(kind=name, precision=precision, engine=engine, milliseconds=median, operations=found))
    return rows


def operations(trainer: Trainer, epoch: int) -> int:
    """How many operations of an epoch compute something."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):
        count: int = 0

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.count += not (func.is_view or "empty" in func.name() or "detach" in func.name())
            return func(*args, **(kwargs or {}))

    with Counting() as counting:
        trainer.train_epoch(epoch).loss.tolist()
    return int(counting.count)


def markdown(rows: Sequence[Row], conditions: Sequence[str]) -> str:
    lines = ["# Which engine trains a network faster", "", *conditions, ""]
    lines += [
        f"| network | precision | {' | '.join(f'{e}: ms' for e in ENGINES)} | operations of a run's step |"
    ]
    lines += ["| --- | --- |" + " ---: |" * len(ENGINES) + " --- |"]
    cells = {(row.kind, row.precision): {} for row in rows}  # type: dict[tuple[str, str], dict[str, Row]]
    for row in rows:
        cells[row.kind, row.precision][row.engine] = row
    for (kind, precision), by_engine in cells.items():
        times = [by_engine[e].milliseconds if e in by_engine else None for e in ENGINES]
        counts = ", ".join(
            f"{e} {r.operations}" for e, r in sorted(by_engine.items()) if r.operations is not None
        )
        said = " | ".join("–" if one is None else f"{one:.1f}" for one in times)
        lines.append(f"| {KINDS[kind].text} | {precision} | {said} | {counts} |")
    lines += [
        "",
        f"ms: processor time of one step of one run, median; all but the plain loop train {RUNS} runs together.",
        "–: the engine does not take the network.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--out", type=Path, help="a Markdown file; every row goes in a .json beside it")
    arguments = parser.parse_args()
    from regulab.training.environment import processor
    from regulab.training.machine import process_settings

    load, rows = os.getloadavg()[0], []
    for name in arguments.only:
        for precision in arguments.precision:
            with process_settings():
                found = measured(name, precision, arguments.steps, arguments.rounds, arguments.engines)
            rows += found
            told = ", ".join(
                f"{r.engine} {r.milliseconds} ms {r.operations} operations {r.reason}" for r in found
            )
            print(f"{name} {precision}: {told}", file=sys.stderr, flush=True)
    now = datetime.datetime.now(datetime.UTC)
    conditions = [
        f"- {now:%Y-%m-%d %H:%M} UTC; {processor()}, {torch.get_num_threads()} threads; torch {torch.__version__}",
        f"- n = {arguments.rounds} epochs of {arguments.steps} steps by turns, one left out; "
        f"load average before the start {load:.1f}",
        f"- `{shlex.join(['python', 'benchmarks/engines.py', *sys.argv[1:]])}`",
    ]
    page = markdown(rows, conditions)
    print(page, end="")
    if arguments.out:
        arguments.out.write_text(page, encoding="utf-8")
        content = json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False)
        arguments.out.with_suffix(".json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
