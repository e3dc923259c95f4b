"""Milliseconds a step of a fleet of cnn10k on a GPU, with Triton's kernels and by torch's layers alone.

Batches of 128 images of MNIST, rotated within ±7° and moved, dropout 0.05, four arms (none, L1, L2, both), SGD with
momentum: the whole step of a study, replayed as the CUDA graph that trains. One way after the other; medians of rounds.
The third way is what determinism costs: the kernels with whatever algorithm cuDNN finds fastest (`--cudnn`).

    python benchmarks/gpu_step.py --cudnn --out benchmarks/results/gpu-step-DATE.md
    python benchmarks/gpu_step.py --runs 128 --profile
    python benchmarks/gpu_step.py --runs 128 --sweep      # other tile sizes than `gpu_tiles.Tiles` has, one at a time
    python benchmarks/gpu_bytes.py --compile 90           # without a GPU: what the kernels move and compute
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from regulab.config import build_study
from regulab.data import data_root
from regulab.training.batches import ImageTensors
from regulab.training.fleet import Fleet
from regulab.training.kernels.gpu_tiles import tiles, using
from regulab.training.machine import choose_machine, process_settings
from regulab.training.setup import Setup, set_up

ARMS: dict[str, Any] = {"none": {}, "l1": {"l1": 1e-4}, "l2": {"l2": 1e-4}, "l1+l2": {"l1": 1e-4, "l2": 1e-4}}
BATCH, STEPS, WARM_UP = 128, 20, 8
LAYERS, KERNELS, FREE = "torch's layers", "Triton's kernels", "Triton's kernels, cuDNN free"
SWEPT: dict[str, tuple[int, ...]] = {
    "elements": (2048, 8192),
    "columns": (64, 256),
    "strip": (4, 16),
    "drawn": (512, 2048),
    "warps": (2, 8),
    "group_columns": (16, 32, 128),
    "places": (32, 128),
    "image_elements": (1024, 4096),
    "image_strip": (2, 8),
    "gradient_elements": (2048, 8192),
    "gradient_strip": (8, 32),
    "of_warp": (256, 1024),
}


def setup_of(runs: int, device: str, precision: str, data: str) -> Setup:
    study = build_study(
        {
            "name": "gpu-step",
            "data": {"name": data, "augment": {"rotate": 7.0}},
            "model": {"name": "cnn10k", "norm": "batch", "dropout": 0.05},
            "train": {"batch_size": BATCH, "precision": precision},
            "arms": ARMS,
            "seeds": max(1, runs // len(ARMS)),
        }
    )
    setup = set_up(study, data_root(None), device)
    few = ImageTensors(setup.images.pixels[: BATCH * 40], setup.images.labels[: BATCH * 40])
    return replace(setup, images=few, machine=choose_machine(device, precision))


def fleet_of(setup: Setup, runs: int, kernels: bool) -> Fleet:
    machine = replace(setup.machine, kernels=kernels and setup.machine.kernels)
    return Fleet(replace(setup, machine=machine), setup.runs()[:runs])


def milliseconds(fleet: Fleet, steps: int) -> float:
    """Of one step, between two events on the GPU. The epoch has begun."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in "ab")
    start.record()
    for _ in range(steps):
        fleet._advance()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / steps


def begun(fleet: Fleet) -> Fleet:
    fleet._begin(1)
    for _ in range(WARM_UP):
        fleet._advance()
    torch.cuda.synchronize()
    return fleet


def measured(setup: Setup, runs: int, rounds: int, ways: Sequence[str]) -> dict[str, list[float]]:
    """Of each way its rounds, one fleet after the other: a fleet is gone before the next one takes memory."""
    found: dict[str, list[float]] = {}
    cudnn = torch.backends.cudnn
    for way in ways:
        with cudnn.flags(deterministic=way != FREE, benchmark=way == FREE, allow_tf32=False):
            found[way] = rounds_of(begun(fleet_of(setup, runs, way != LAYERS)), rounds)
        torch.cuda.empty_cache()
    return found


def rounds_of(fleet: Fleet, rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        fleet._begin(1)
        times.append(milliseconds(fleet, STEPS))
    return times


def sweep(setup: Setup, runs: int, rounds: int) -> Iterator[str]:
    """The step with one size changed at a time, and with none, before and after: what a change is measured against."""
    chosen = tiles()
    others = [replace(chosen, **{name: size}) for name, sizes in SWEPT.items() for size in sizes]
    for one in (chosen, *others, chosen):
        changed = {name: getattr(one, name) for name in SWEPT if getattr(one, name) != getattr(chosen, name)}
        said = ", ".join(f"{name} {size}" for name, size in changed.items()) or "as chosen"
        try:
            with using(one):
                times = rounds_of(begun(fleet_of(setup, runs, kernels=True)), rounds)
        except Exception as problem:  # a tile that does not fit, of which the compiler tells in its own ways
            yield f"{said}: {type(problem).__name__}: {str(problem).strip().splitlines()[0][:100]}"
        else:
            yield f"{said}: {statistics.median(times):.3f} ms ({min(times):.3f} to {max(times):.3f})"
        torch.cuda.empty_cache()


def profile(setup: Setup, runs: int) -> str:
    """What a step's time goes to on the GPU, the largest first."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    fleet = begun(fleet_of(setup, runs, kernels=True))
    fleet._begin(1)
    with profiler(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(5):
            fleet._advance()
        torch.cuda.synchronize()
    rows = sorted(found.key_averages(), key=lambda row: -row.device_time_total)[:45]
    return "\n".join(f"{r.device_time_total / 5e3:8.3f} ms {r.count / 5:6.1f} x {r.key[:110]}" for r in rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[4, 16, 40, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--profile", action="store_true", help="what the last fleet's step goes to")
    parser.add_argument(
        "--cudnn", action="store_true", help="also with cuDNN's fastest algorithms, not repeatable"
    )
    parser.add_argument(
        "--sweep", action="store_true", help="other tile sizes, one at a time, and nothing else"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines, ways = [], [LAYERS, KERNELS, *([FREE] if options.cudnn else [])]
    with process_settings():
        for runs in options.runs:
            setup = setup_of(runs, options.device, options.precision, options.data)
            if not setup.machine.kernels:
                sys.exit("; ".join(setup.machine.notes))
            if options.sweep:
                for line in sweep(setup, runs, options.rounds):
                    print(f"{runs} runs, {line}", flush=True)
                continue
            cells = []
            for way, times in measured(setup, runs, options.rounds, ways).items():
                middle = statistics.median(times)
                rate = runs * BATCH / middle * 1e3
                print(
                    f"{runs} runs, {way}: {middle:.3f} ms ({min(times):.3f} to {max(times):.3f}), {rate:,.0f}/s",
                    flush=True,
                )
                cells += [f"{middle:.2f}", f"{rate:,.0f}"]
            lines.append(f"| {runs} | " + " | ".join(cells) + " |")
        if options.profile:
            print(profile(setup, options.runs[-1]))
    if options.out:
        options.out.write_text(page(lines, setup, options.rounds, ways), "utf-8")


def page(lines: list[str], setup: Setup, rounds: int, ways: Sequence[str]) -> str:
    machine = setup.machine
    where = (
        f"{datetime.date.today()}, {torch.cuda.get_device_name(machine.device)}, torch {torch.__version__}"
    )
    head = [
        "# A fleet's step on a GPU",
        "",
        f"{where}, {machine.precision}, n = {rounds} rounds of {STEPS} steps, medians. `python {shlex.join(sys.argv)}`",
        "",
        "| runs |" + "".join(f" {way}, ms | model-images/s |" for way in ways),
        "| ---: |" + " ---: | ---: |" * len(ways),
    ]
    return "\n".join([*head, *lines, ""])


if __name__ == "__main__":
    main()
