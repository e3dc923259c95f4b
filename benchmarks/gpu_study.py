"""128 runs × 40 epochs of MNIST from the command to the report, phase by phase: at most 90 s on a large GPU.

390 steps × 40 epochs at the 4.21 ms that a step took (one H200, 2026-11-27) are 65.7 s, so that all else has 24 s. With
the kernels since, a step should take about a millisecond less (`gpu_bytes.py`): 50 s. What a person waits for beside
steps: starting (imports, about 2 s), Triton compiling on the first use (kept in its cache), reading, the checks of the
network in float64 on the processor, capture, then in every epoch validation, the records and a checkpoint; then the
test, mistakes, and the report. Evaluating 10,000 images with 128 runs is the forward pass of 78 steps, in 20 batches
without a copy to the host; an epoch copies its losses, accuracies and checkpoint at its end.

    python benchmarks/gpu_study.py --out benchmarks/results/gpu-study-DATE.md
    python benchmarks/gpu_study.py --device cpu --study l1-l2 --seeds 2 --epochs 2
"""

from __future__ import annotations

import time

STARTED = time.time()

import argparse  # noqa: E402
import datetime  # noqa: E402
import shlex  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import ExitStack, contextmanager  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402
from unittest import mock  # noqa: E402

import torch  # noqa: E402

from regulab import launching, resuming, study  # noqa: E402
from regulab.config import load_study  # noqa: E402
from regulab.data import data_root  # noqa: E402
from regulab.launchers import events  # noqa: E402
from regulab.training import fleet, loop, setup  # noqa: E402

GOAL = 90.0
# What is timed, from the inside out: a phase has no part in the time of the one around it.
PHASES: list[tuple[str, Any, str]] = [
    ("read and split images", setup, "load"),
    ("try kernels", setup, "choose_machine"),
    ("check the network", setup, "check_model"),
    ("set up, the rest", study, "set_up"),
    ("plan fleets", resuming, "plan_fleets"),
    ("make fleets", loop, "_begin"),
    ("train: host's part of epochs", fleet.Fleet, "train_epoch"),
    ("evaluate after epochs", loop, "evaluate"),
    ("train: rest of epochs, waiting for the GPU", loop._Training, "train_epoch"),
    ("copy checkpoints", loop._Training, "checkpoint"),
    ("test", events, "test"),
    ("write records", launching, "write"),
    ("report", study, "write_report"),
]


@dataclass
class Phases:
    """Seconds by phase, each without those of the phases within it."""

    seconds: dict[str, float] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            took = time.perf_counter() - start
            within = self._inner.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + took - within
            if self._inner:
                self._inner[-1] += took

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **named: Any) -> Any:
            with self.phase(name):
                return function(*args, **named)

        return wrapper


def phases_of(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds by phase of what ``work`` does with regulab, and what no phase holds as ``other``."""
    phases = Phases()
    with ExitStack() as patched:
        for name, place, attribute in PHASES:
            function = phases.timed(name, getattr(place, attribute))
            patched.enter_context(mock.patch.object(place, attribute, function))
        with phases.phase("other"):
            work()
    return phases.seconds


def studied(options: argparse.Namespace, folder: Path) -> None:
    overrides = (
        f"seeds={options.seeds}",
        f"train.epochs={options.epochs}",
        f"train.precision={options.precision}",
    )
    asked = load_study(options.study, *overrides)
    study.run(asked, folder, data_root=data_root(None), device=options.device)


def page(seconds: dict[str, float], options: argparse.Namespace) -> str:
    total = sum(seconds.values())
    cuda = options.device != "cpu" and torch.cuda.is_available()
    where = torch.cuda.get_device_name() if cuda else "a processor"
    lines = [
        f"# A whole study on {where}",
        "",
        f"{datetime.date.today()}, torch {torch.__version__}, n = 1. `python {shlex.join(sys.argv)}`: {options.study}, "
        f"{options.seeds} seeds, {options.epochs} epochs.",
        "",
        "| phase | s | % |",
        "| --- | ---: | ---: |",
        *(f"| {name} | {each:.2f} | {100 * each / total:.1f} |" for name, each in seconds.items()),
        f"| all, of {GOAL:.0f} | {total:.2f} | 100 |",
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", default="l1-l2-mnist", help="a built-in study, or a file")
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    imports = time.time() - STARTED
    with tempfile.TemporaryDirectory() as folder:
        found = phases_of(partial(studied, options, Path(folder) / "study"))
    text = page({"start: imports": imports, **found}, options)
    print(text)
    if options.out:
        options.out.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
