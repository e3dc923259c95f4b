"""One page of all machines: what `throughput.py` measured on each, and the notebook's loop there beside it.

Reads every results/throughput-MACHINE-LEVEL-DATE.json, and results/throughput-by-hand.json for machines of which no
more is known than somebody noted. Of each machine, level and number of threads the last result stands above, the
earlier ones below. Ratios are to the notebook-style loop of the same run.

    python benchmarks/machines.py
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import levels
from dated import RESULTS
from throughput import NOTEBOOK

PAGE = Path(__file__).resolve().parent / "machines.md"
BY_HAND = "throughput-by-hand.json"
NAME = re.compile(
    rf"throughput-(?P<machine>.+)-(?P<level>{'|'.join(levels.LEVELS)})-(?P<date>\d{{4}}-\d\d-\d\d)(-(?P<number>\d+))?\.json"
)
# The columns: title, precision, and the contenders of which the first that was measured in that precision stands there.
COLUMNS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("notebook's loop", "fp32", (NOTEBOOK,)),
    ("plain PyTorch, in memory", "fp32", ("memory",)),
    ("regulab's plain loop", "fp32", ("plain-fp32", "plain-auto")),
    ("fleet of 1, float32", "fp32", ("fleet-1-fp32", "fleet-1-auto")),
    ("of 4", "fp32", ("fleet-4-fp32", "fleet-4-auto")),
    ("of 40", "fp32", ("fleet-40-auto",)),
    ("40 as in a study", "fp32", ("planned-40-auto",)),
    ("fleet of 1, bf16", "bf16", ("fleet-1-auto",)),
    ("of 4", "bf16", ("fleet-4-auto",)),
    ("of 40", "bf16", ("fleet-40-auto",)),
    ("40 as in a study", "bf16", ("planned-40-auto",)),
)


@dataclass(frozen=True)
class Result:
    """What one run of `throughput.py` found on one machine: medians by contender and precision."""

    machine: str
    level: str
    date: str
    number: int  # of several runs on one day
    commit: str | None
    threads: int | None
    source: str  # a file beside the page, or words
    rates: Mapping[tuple[str, str], float]  # model-images a second
    ratios: Mapping[tuple[str, str], float]  # to the notebook's loop

    @property
    def key(self) -> tuple[str, str, int | None]:
        return self.machine, self.level, self.threads

    @property
    def when(self) -> tuple[str, int]:
        return self.date, self.number


def measured(path: Path) -> Result:
    """A result file. Raises `ValueError` where its name or its content is none."""
    found = NAME.fullmatch(path.name)
    rows = json.loads(path.read_text("utf-8"))
    if found is None or not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: no result of throughput.py, named throughput-MACHINE-LEVEL-DATE.json")
    environment = rows[0]["environment"]
    rates: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        rate = row["images"] * row["runs"] / row["seconds"]
        rates.setdefault((row["contender"], row["precision"]), []).append(rate)
    medians = {key: statistics.median(values) for key, values in rates.items()}
    yardstick = medians.get((NOTEBOOK, "fp32"))
    return Result(
        machine=environment["processor"],
        level=found["level"],
        date=found["date"],
        number=int(found["number"] or 1),
        commit=environment["commit"],
        threads=environment["threads"] if environment["device"] == "cpu" else None,
        source=f"[results/{path.stem}](results/{path.stem}.md)",
        rates=medians,
        ratios={key: rate / yardstick for key, rate in medians.items()} if yardstick else {},
    )


def by_hand(path: Path) -> list[Result]:
    """Figures that somebody noted, without the measurements behind them."""
    found = []
    for one in json.loads(path.read_text("utf-8")) if path.exists() else ():
        rows = {(row["contender"], row["precision"]): row for row in one["rates"]}
        rates = {key: float(row["rate"]) for key, row in rows.items() if "rate" in row}
        yardstick = rates.get((NOTEBOOK, "fp32"))
        ratios = {key: rate / yardstick for key, rate in rates.items()} if yardstick else {}
        ratios |= {key: row["ratio"] for key, row in rows.items() if "ratio" in row}
        about = {name: one[name] for name in ("machine", "level", "date", "commit", "threads")}
        found.append(
            Result(**about, number=1, source=f"by hand: {one['source']}", rates=rates, ratios=ratios)
        )
    return found


def all_results(folder: Path) -> list[Result]:
    """The last of each machine first come, newest first; raises `ValueError` for a file that is no result."""
    files = sorted(path for path in folder.glob("throughput-*.json") if path.name != BY_HAND)
    results = [*map(measured, files), *by_hand(folder / BY_HAND)]
    return sorted(results, key=lambda one: one.when, reverse=True)


def last_and_earlier(results: Iterable[Result]) -> tuple[list[Result], list[Result]]:
    """Of results, newest first, the last of each machine, level and number of threads, and all others."""
    last: dict[object, Result] = {}
    earlier = []
    for one in results:
        if last.setdefault(one.key, one) is not one:
            earlier.append(one)
    order = list(levels.LEVELS)
    return sorted(last.values(), key=lambda one: (one.machine, order.index(one.level))), earlier


def last_of_this_machine(device: str, folder: Path = RESULTS) -> Path | None:
    """The newest result file of this machine and level."""
    machine, level = levels.as_word(levels.machine_name(device)), levels.here(device)
    own = [
        (found["date"], int(found["number"] or 1), path)
        for path in folder.glob("throughput-*.json")
        if (found := NAME.fullmatch(path.name)) and (found["machine"], found["level"]) == (machine, level)
    ]
    return max(own)[2] if own else None


def page(results: Sequence[Result]) -> str:
    last, earlier = last_and_earlier(results)
    lines = [
        "# Throughput of training, machine by machine",
        "",
        "Model-images per second of cnn10k on MNIST with batches of 128, dropout and rotation, and in brackets the",
        "ratio to the notebook-style loop of the same run (`throughput.py`; medians). The level is the newest",
        "instructions that all contenders might use: where the processor has newer ones, they were forced down to it,",
        "for all alike. A fleet trains so many runs at once: four arms, or four arms × 10 seeds, which a study divides",
        "into ten fleets.",
        "",
        *_table(last),
    ]
    if earlier:
        lines += ["", "## Earlier results", "", *_table(earlier)]
    lines += ["", "Written by `python benchmarks/machines.py`."]
    return "\n".join(lines) + "\n"


def _table(results: Sequence[Result]) -> list[str]:
    head = ["machine", "level", "threads", "date", "commit", *(title for title, *_ in COLUMNS), "source"]
    lines = [f"| {' | '.join(head)} |", "| --- | --- " + "| ---: " * (len(head) - 3) + "| --- |"]
    for one in results:
        about = [one.machine, one.level, str(one.threads or "–"), one.date, (one.commit or "unknown")[:7]]
        cells = [_cell(one, precision, names) for _, precision, names in COLUMNS]
        lines.append(f"| {' | '.join([*about, *cells, one.source])} |")
    return lines


def _cell(result: Result, precision: str, contenders: Sequence[str]) -> str:
    known = {**result.rates, **result.ratios}
    key = next(((name, precision) for name in contenders if (name, precision) in known), None)
    if key is None:
        return "–"
    rate, ratio = result.rates.get(key), result.ratios.get(key)
    said = ["?" if rate is None else f"{rate:,.0f}"]
    return " ".join(said + ([] if ratio is None else [f"({ratio:.1f}×)"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of results")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page, which is written anew")
    arguments = parser.parse_args()
    try:
        text = page(all_results(arguments.results))
    except ValueError as problem:
        parser.error(str(problem))
    arguments.out.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
