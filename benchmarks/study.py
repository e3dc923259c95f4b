"""The whole assignment, four arms × 40 epochs on MNIST: regulab's wall clock, and what others need for the same images.

regulab's time is that of the command from start to report: start-up, reading, validation after every epoch, the test,
graphs, galleries and pages. The others' is computed from the rates that throughput.py measured last on this machine:
4 arms × seeds × 40 epochs × 50,000 images ÷ model-images per second, without validating, testing or reporting, which is
in their favour.

    python benchmarks/throughput.py
    python benchmarks/study.py
    python benchmarks/throughput.py --device cuda --steps 390
    python benchmarks/study.py --device cuda --seeds 32
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import machines
import throughput
from matplotlib.figure import Figure

from regulab.files import json_bytes, write_whole
from regulab.reporting.rendering import render
from regulab.reporting.theme import THEMES, Theme

ARMS, EPOCHS, IMAGES = 4, 40, 50_000
HERE = Path(__file__).resolve().parent
PEERS = ("notebook", "memory", "lightning", "keras")


def timed_study(folder: Path, seeds: int, device: str) -> tuple[float, dict[str, Any]]:
    """Seconds from the command to its end, and the environment that the study recorded."""
    command = ["regulab.cli", "run", "l1-l2-mnist", "--seeds", str(seeds), "--device", device]
    command += ["--out", str(folder), "-q"]
    code = f"import sys; from regulab.__main__ import main; sys.argv = {command!r}; main()"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    environment: dict[str, Any] = json.loads((folder / "environment.json").read_text("utf-8"))
    return seconds, environment


def rates(measurements: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Median model-images per second of every contender that throughput.py measured."""
    found: dict[str, list[float]] = {}
    for one in measurements:
        found.setdefault(one["contender"], []).append(one["images"] * one["runs"] / one["seconds"])
    return {name: statistics.median(values) for name, values in found.items()}


def page(content: Mapping[str, Any]) -> str:
    environment = content["environment"]
    rows = [
        f"| {throughput.CONTENDERS[name].text} | {minutes:.1f} | {minutes / content['minutes']:.1f} |"
        for name, minutes in content["others"].items()
    ]
    table, source, bars = "\n".join(rows), content["throughput"], content["picture"]
    return f"""# The whole assignment on MNIST

{content["date"]}, {environment["processor"]}, {environment["threads"]} threads, {environment["precision"]}, regulab \
{environment["regulab"]} ({environment["commit"]}), torch {environment["libraries"]["torch"]}. \
Command: `{content["command"]}`, n = 1.

Four arms × {EPOCHS} epochs × {IMAGES:,} images × {content["seeds"]} seed{"s" * (content["seeds"] > 1)}.

| | minutes | ratio |
| --- | ---: | ---: |
| `regulab run l1-l2-mnist seeds={content["seeds"]}`, from start to report | {content["minutes"]:.1f} | 1.0 |
{table}

The others' minutes are computed from their rates in [{source}]({source}), training steps alone, which is in
their favour: regulab's include start-up, validation after every epoch, the test, and the report.

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="{bars}-dark.png">
  <img src="{bars}-light.png" alt="Bars: model-images per second of every contender, and minutes for the whole study">
</picture>
"""


def picture(content: Mapping[str, Any], theme: Theme) -> Figure:
    """Bars of both benchmarks: rates of all contenders, minutes of the study."""
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(len(content["rates"]), len(PEERS) + 1))
    _bars(
        above,
        [_label(name, content["environment"]["precision"]) for name in content["rates"]],
        list(content["rates"].values()),
        [name not in PEERS for name in content["rates"]],
        "{:,.0f}",
        theme,
    )
    above.set_title("Training, model-images per second (more is better)")
    names = ["regulab run, start to report", *(_label(name) for name in content["others"])]
    minutes = [content["minutes"], *content["others"].values()]
    _bars(below, names, minutes, [True] + [False] * len(content["others"]), "{:.1f}", theme)
    seeds = f" × {content['seeds']} seeds" if content["seeds"] > 1 else ""
    below.set_title(f"{ARMS} arms{seeds} × {EPOCHS} epochs on MNIST, minutes (less is better)")
    return figure


def _label(name: str, auto: str = "") -> str:
    """A contender's name, with its precision if it is ours: ``auto`` is what that came to."""
    contender = throughput.CONTENDERS[name]
    precision = auto if contender.precision == "auto" else contender.precision
    return contender.text + (f", {precision}" if contender.engine in throughput.OURS else "")


def _bars(
    axes: Any, names: Sequence[str], values: Sequence[float], ours: Sequence[bool], text: str, theme: Theme
) -> None:
    bars = axes.barh(
        range(len(names)), values, color=[theme.colours[0] if own else theme.soft for own in ours]
    )
    axes.bar_label(bars, [text.format(value) for value in values], padding=4, fontsize=10, color=theme.ink)
    axes.set_yticks(range(len(names)), names, fontsize=10)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=throughput.MATRIX, default="cpu")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--throughput", type=Path, help="its .json; by default the last of this machine")
    parser.add_argument("--out", type=Path, help="without a suffix; by default study, or study-cuda")
    parser.add_argument("--redraw", action="store_true", help="page and pictures from what was measured last")
    arguments = parser.parse_args()
    suffix = "" if arguments.device == "cpu" else f"-{arguments.device}"
    out = arguments.out or HERE / f"study{suffix}"
    if arguments.redraw:
        content = json.loads(out.with_suffix(".json").read_text("utf-8"))
    else:
        source = arguments.throughput or machines.last_of_this_machine(arguments.device)
        if source is None:
            parser.error("nothing measured on this machine yet: run benchmarks/throughput.py first")
        content = measure(source, suffix, arguments.seeds, arguments.device)
        write_whole(out.with_suffix(".json"), json_bytes(content))
    write_whole(out.with_suffix(".md"), page(content).encode())
    for theme in THEMES:
        with theme.applied():
            image = render(picture(content, theme), "png")
            write_whole(out.with_name(f"{content['picture']}-{theme.name}.png"), image)
    print(page(content))


def measure(source: Path, suffix: str, seeds: int, device: str) -> dict[str, Any]:
    """Trains the study, and computes what the others' rates come to for as many runs."""
    measured = rates(json.loads(source.read_text("utf-8")))
    with tempfile.TemporaryDirectory() as folder:
        seconds, environment = timed_study(Path(folder) / "run", seeds, device)
    total = ARMS * seeds * EPOCHS * IMAGES
    return {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
        "environment": environment,
        "seeds": seeds,
        "throughput": os.path.relpath(source.with_suffix(".md"), HERE),
        "picture": f"speed{suffix}",
        "minutes": seconds / 60,
        "others": {name: total / measured[name] / 60 for name in PEERS if name in measured},
        "rates": measured,
    }


if __name__ == "__main__":
    main()
