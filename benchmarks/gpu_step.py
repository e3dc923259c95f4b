"""Milliseconds a step of a fleet of cnn10k on a GPU, with Triton's kernels and by torch's layers alone.

Batches of 128 images of MNIST, rotated within ±7° and moved, dropout 0.05, four arms (none, L1, L2, both), SGD with
momentum: the whole step of a study, replayed as the CUDA graph that trains. One way after the other; medians of rounds.

    python benchmarks/gpu_step.py --out benchmarks/results/gpu-step-DATE.md
    python benchmarks/gpu_step.py --runs 128 --profile
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from regulab.config import build_study
from regulab.data import data_root
from regulab.training.batches import ImageTensors
from regulab.training.fleet import Fleet
from regulab.training.machine import choose_machine, process_settings
from regulab.training.setup import Setup, set_up

ARMS: dict[str, Any] = {"none": {}, "l1": {"l1": 1e-4}, "l2": {"l2": 1e-4}, "l1+l2": {"l1": 1e-4, "l2": 1e-4}}
BATCH, STEPS, WARM_UP = 128, 20, 8
WAYS = {"torch's layers": False, "Triton's kernels": True}


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


def measured(setup: Setup, runs: int, rounds: int) -> dict[str, list[float]]:
    """Of each way its rounds, one fleet after the other: a fleet is gone before the next one takes memory."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for way, kernels in WAYS.items():
        fleet = begun(fleet_of(setup, runs, kernels))
        for _ in range(rounds):
            fleet._begin(1)
            found[way].append(milliseconds(fleet, STEPS))
        del fleet
        torch.cuda.empty_cache()
    return found


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
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--profile", action="store_true", help="what the last fleet's step goes to")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = []
    with process_settings():
        for runs in options.runs:
            setup = setup_of(runs, options.device, options.precision, options.data)
            if not setup.machine.kernels:
                sys.exit("; ".join(setup.machine.notes))
            cells = []
            for way, times in measured(setup, runs, options.rounds).items():
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
        options.out.write_text(page(lines, setup, options.rounds), "utf-8")


def page(lines: list[str], setup: Setup, rounds: int) -> str:
    machine = setup.machine
    where = (
        f"{datetime.date.today()}, {torch.cuda.get_device_name(machine.device)}, torch {torch.__version__}"
    )
    head = [
        "# A fleet's step on a GPU",
        "",
        f"{where}, {machine.precision}, n = {rounds} rounds of {STEPS} steps, medians. `python {shlex.join(sys.argv)}`",
        "",
        "| runs | torch's layers, ms | model-images/s | Triton's kernels, ms | model-images/s |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    return "\n".join([*head, *lines, ""])


if __name__ == "__main__":
    main()
