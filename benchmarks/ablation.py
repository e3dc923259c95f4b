"""What each optimization brings: a fleet of the four arms as it trains by default, and with one thing taken away.

The same network, data, batch, dropout and rotation as in throughput.py, whose measuring this uses: every variant in a
process of its own, in turn for several rounds, one short epoch left out.

    python benchmarks/ablation.py --out benchmarks/ablation.md
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest import mock

import throughput
from throughput import Measurement

WHOLE, FLEET = "nothing", "fleet-4-auto"


def take_nothing() -> None:
    """As it is."""


def take_tiles() -> None:
    os.environ["REGULAB_KERNELS"] = (
        "avx512_bf16"  # the level below AMX; read when kernels are first asked for
    )


def take_kernels() -> None:
    _change_contender(kernels=False)


def take_bf16() -> None:
    _change_contender(precision="fp32")


def take_kernels_and_bf16() -> None:
    _change_contender(kernels=False, precision="fp32")


def take_groups() -> None:
    from regulab.training import fleet

    mock.patch.object(fleet, "all_elementwise", return_value=False).start()


def take_kept_memory() -> None:
    from regulab.training import machine

    mock.patch.object(machine, "freed_memory_kept", contextlib.nullcontext).start()


def take_sharing() -> None:
    throughput.STUDY["pairing"] = "none"


def _change_contender(**changes: Any) -> None:
    throughput.CONTENDERS[FLEET] = replace(throughput.CONTENDERS[FLEET], **changes)


PARTS: dict[str, tuple[str, Callable[[], None]]] = {
    WHOLE: ("nothing", take_nothing),
    "tiles": ("convolutions on AMX tiles: oneDNN's, then the kernel", take_tiles),
    "kernels": ("compiled kernels: torch's layers", take_kernels),
    "bf16": ("bfloat16: float32", take_bf16),
    "groups": ("parameters updated as one: each for itself", take_groups),
    "memory": ("freed memory kept: given back to the system", take_kept_memory),
    "sharing": ("draws and images shared by a seed's arms: each arm has its own", take_sharing),
    "kernels and bf16": ("kernels and bfloat16: torch's layers in float32", take_kernels_and_bf16),
}


def run_part(name: str, steps: int) -> Measurement:
    command = [sys.executable, __file__, "--part", name, "--steps", str(steps)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        sys.exit(f"{name} failed, see above")
    return Measurement(**json.loads(answer.stdout))


def markdown(measured: dict[str, list[Measurement]], conditions: Sequence[str]) -> str:
    rates = {name: [one.rate for one in own] for name, own in measured.items()}
    whole = statistics.median(rates[WHOLE])
    rows = [
        f"| {PARTS[name][0]} | {round(statistics.median(own)):,} ({round(min(own)):,} to {round(max(own)):,}) "
        f"| {statistics.median(own) / whole:.2f} |"
        for name, own in rates.items()
    ]
    head = [
        "| taken away: what is there instead | model-images/s, median (range) | ratio |",
        "| --- | ---: | ---: |",
    ]
    return "\n".join(["# What each optimization brings", "", *conditions, "", *head, *rows]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=40, help="one unmeasured and two measured epochs of so many"
    )
    parser.add_argument(
        "--out", type=Path, help="a Markdown file; every measurement goes in a .json beside it"
    )
    parser.add_argument("--part", choices=PARTS, help="measure only without this, here; print it as JSON")
    arguments = parser.parse_args()
    if arguments.part:
        PARTS[arguments.part][1]()
        print(json.dumps(asdict(throughput.measure(FLEET, arguments.steps, 0.0, "cpu"))))
        return
    load, measured = os.getloadavg()[0], {name: list[Measurement]() for name in PARTS}
    for turn in range(arguments.rounds):
        for name in PARTS:
            measured[name].append(run_part(name, arguments.steps))
            print(f"round {turn + 1}, {name}: {measured[name][-1].rate:,.0f}", file=sys.stderr, flush=True)
    command = shlex.join(["python", "benchmarks/ablation.py", *sys.argv[1:]])
    environment = measured[WHOLE][0].environment
    conditions = throughput.describe_conditions(environment, command, arguments.rounds, arguments.steps, load)
    page = markdown(measured, conditions)
    print(page, end="")
    if arguments.out:
        arguments.out.write_text(page, encoding="utf-8")
        content = {name: [asdict(one) for one in own] for name, own in measured.items()}
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        arguments.out.with_suffix(".json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
