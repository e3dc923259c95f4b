"""What a person sees: live progress for the whole study, plain lines elsewhere, and the tables."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from regulab.progress import Progress, Silent
from regulab.records import EpochRecord

PLAIN_WIDTH = 200  # columns of a table that goes into a file or a pipe
PLAIN_INTERVAL = 3.0  # seconds between plain lines, at least
WARM_UP = 20.0  # seconds; a first epoch that takes longer tells the speed, a shorter one does not
VERDICT_STYLES = {"better": "green", "worse": "red", "diverged": "bold red", "equivalent": "cyan"}


def output() -> Console:
    """The console for results; no colours and wide lines where it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def errors() -> Console:
    """The console for progress and messages."""
    return Console(stderr=True, highlight=False)


def progress_for(arms: Sequence[str], epochs: int, *, quiet: bool) -> Progress:
    """Nothing if ``quiet``, bars on a terminal, lines elsewhere; all on stderr."""
    console = errors()
    if quiet:
        return Silent()
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveProgress(arms, epochs, console)
    return PlainProgress(arms, epochs, lambda line: print(line, file=sys.stderr, flush=True))


class Standing:
    """The latest epoch of every run of the study that trained in this process."""

    def __init__(self, arms: Sequence[str]) -> None:
        self.arms = tuple(arms)
        self._latest: dict[tuple[str, int], EpochRecord] = {}

    def update(self, records: Sequence[EpochRecord]) -> None:
        self._latest.update({(record.arm, record.seed): record for record in records})

    def of(self, arm: str) -> list[EpochRecord]:
        """The latest records of an arm, those of the fleet that advanced last."""
        records = [record for (name, _), record in self._latest.items() if name == arm]
        newest = max((record.fleet for record in records), default=0)
        return [record for record in records if record.fleet == newest]

    def accuracy(self, arm: str) -> float | None:
        """Mean validation accuracy of the arm's runs, in percent; None before the first epoch."""
        values = [record.val_accuracy for record in self.of(arm) if record.val_accuracy is not None]
        return sum(values) / len(values) if values else None


class PlainProgress:
    """One line every few seconds, and one at the end of each fleet: for pipes, files and CI logs."""

    def __init__(
        self,
        arms: Sequence[str],
        epochs: int,
        write: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._standing, self._epochs, self._write, self._clock = Standing(arms), epochs, write, clock
        self._total = self._done = 0
        self._mark = (clock(), 0)  # a time, and the units done at that time, from which the rate is taken
        self._written, self._warm = -math.inf, False

    def started(self, total: int, done: int) -> None:
        self._total, self._done = total, done
        self._mark = (self._clock(), done)
        rest = f", {done} of them done before" if done else ""
        self._write(f"training {total} epochs of runs{rest}")

    def epoch(self, records: Sequence[EpochRecord]) -> None:
        self._standing.update(records)
        self._done += len(records)
        now, epoch = self._clock(), records[0].epoch
        left = self._left(now)
        if now - self._written < PLAIN_INTERVAL and epoch < self._epochs:
            return
        self._written = now
        seeds = sorted({record.seed for record in records})
        accuracies = ", ".join(
            f"{arm} {accuracy:.2f} %"
            for arm in self._standing.arms
            if (accuracy := self._standing.accuracy(arm)) is not None
        )
        self._write(
            f"epoch {epoch}/{self._epochs} of {number_ranges(seeds, 'seed')}; "
            f"validation accuracy: {accuracies}; {100 * self._done / self._total:.0f} % of the study"
            + ("" if left is None else f", {duration(left)} left")
        )

    def message(self, text: str) -> None:
        self._write(text)

    def finished(self) -> None: ...

    def _left(self, now: float) -> float | None:
        """Seconds left at the rate so far; None after a short first epoch, most of which is warming up."""
        since, before = self._mark
        elapsed, units = now - since, self._done - before
        if not self._warm:
            self._warm = True
            if elapsed < WARM_UP:
                self._mark = (now, self._done)
                return None
        return elapsed / units * (self._total - self._done)


class LiveProgress:
    """A bar with the time left for the whole study, over a table with a row for each arm."""

    def __init__(self, arms: Sequence[str], epochs: int, console: Console) -> None:
        self._standing, self._epochs, self._console = Standing(arms), epochs, console
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("epochs of runs,"),
            TimeElapsedColumn(),
            TextColumn("gone,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            expand=True,
        )
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=4)

    def started(self, total: int, done: int) -> None:
        if self._bar.task_ids:
            self._bar.update(self._bar.task_ids[0], total=total, completed=done)
        else:
            self._bar.add_task("study", total=total, completed=done)
        self._live.start()

    def epoch(self, records: Sequence[EpochRecord]) -> None:
        self._standing.update(records)
        self._bar.advance(self._bar.task_ids[0], len(records))

    def message(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def finished(self) -> None:
        self._live.stop()

    def _render(self) -> Group:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("arm", "seeds", "epoch", "validation accuracy"):
            table.add_column(column, justify="left" if column == "arm" else "right")
        for arm in self._standing.arms:
            records, accuracy = self._standing.of(arm), self._standing.accuracy(arm)
            table.add_row(
                Text(arm),
                number_ranges(sorted(record.seed for record in records)) if records else "–",
                f"{max((record.epoch for record in records), default=0)}/{self._epochs}",
                "–" if accuracy is None else f"{accuracy:.2f} %",
            )
        return Group(table, self._bar)


ASSUMED = (
    "sign flips take differences for symmetric about 0 (about the margin either way for equivalence); a false "
    "difference is held at 5 % over all arms, and so is a false equivalence, each by itself"
)


def print_comparison(comparison: Mapping[str, Any], console: Console) -> None:
    """The mapping of ``compare --json`` for people: an arm a row, what remains to be said below."""
    arms, baseline, metric = comparison["arms"], comparison["baseline"], comparison["metric"]
    seeds = number_ranges(comparison["seeds"], "seed") if comparison["seeds"] else "no seeds yet"
    unit = " in %" if metric.endswith("accuracy") else ""
    said = (f"{metric}{unit}", f"{comparison['epoch']} epoch", comparison["protocol"], seeds)
    table = Table(
        title=Text(", ".join(said)), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    sequential = comparison["rule"] == "sequential"
    numbers = _sequential_columns(comparison) if sequential else _fixed_columns(baseline)
    for column in ("arm", "mean", *numbers, "verdict"):
        justify: Literal["left", "right"] = "left" if column in ("arm", "verdict") else "right"
        table.add_column(Text(column), justify=justify, no_wrap=column in ("mean", "p (Holm)", "verdict"))
    for name, arm in arms.items():
        verdict = "baseline" if name == baseline else arm["verdict"] or "–"
        own, against = _sequential_cells(arm, metric) if sequential else _fixed_cells(arm, metric)
        if name == baseline:
            against = [""] * len(against)
        style = VERDICT_STYLES.get(verdict, "")
        cells = (_number(arm["mean"], metric), *own, *against)
        table.add_row(Text(name), *cells, Text(verdict, style=style))
    console.print(table)
    for note in _notes(comparison):
        console.print(note, markup=False, soft_wrap=not console.is_terminal)


def _fixed_columns(baseline: str) -> list[str]:
    return ["95 % interval", f"− {baseline}", "95 % interval", "p (Holm)"]


def _fixed_cells(arm: Mapping[str, Any], metric: str) -> tuple[list[str], list[str]]:
    """What stands for the arm itself, and what for its comparison with the baseline."""
    p = "–" if arm["p_holm"] is None else f"{arm['p_holm']:.3g}"
    difference = _number(arm["difference"], metric, "+")
    return [_interval(arm["ci95"], metric)], [difference, _interval(arm["difference_ci95"], metric, "+"), p]


def _sequential_columns(comparison: Mapping[str, Any]) -> list[str]:
    """e-values stand against their threshold, which is the same for all arms."""
    threshold = f"{comparison['e_threshold']:.4g}"
    return [f"− {comparison['baseline']}", "pairs", f"e differs (≥ {threshold})", f"e equal (≥ {threshold})"]


def _sequential_cells(arm: Mapping[str, Any], metric: str) -> tuple[list[str], list[str]]:
    pairs = "–" if arm["looked_at"] is None else str(arm["looked_at"])
    evidence = ["–" if arm[key] is None else f"{arm[key]:.3g}" for key in ("e", "e_equivalent")]
    return [], [_number(arm["difference"], metric, "+"), pairs, *evidence]


def _notes(comparison: Mapping[str, Any]) -> list[str]:
    """The comparison's own note, then each arm's; arms with the same note share a line."""
    sharing: dict[str, list[str]] = {}
    for name, arm in comparison["arms"].items():
        needed = arm["seeds_needed"]
        for note in (
            arm["note"],
            f"{needed} seeds would find a true difference of one margin 4 times in 5" if needed else None,
        ):
            if note:
                sharing.setdefault(note, []).append(name)
    sequential = comparison["rule"] == "sequential"
    own = (
        []
        if sequential or not any(arm["p_holm"] is not None for arm in comparison["arms"].values())
        else [ASSUMED]
    )
    own += [comparison["note"]] if comparison["note"] else []
    first = comparison.get("first_look")
    if first:
        verdicts = ", ".join(f"{name} {verdict or '–'}" for name, verdict in first["verdicts"].items())
        own.append(f"the look at {number_ranges(sorted(first['seeds']), 'seed')} said: {verdicts}")
    if sequential:
        own.append(
            "judged by sign e-values of the median difference, which may be looked at while seeds are added "
            f"(looks so far: {comparison['looks']}); p and intervals would not hold"
        )
    return own + [f"{', '.join(names)}: {note}" for note, names in sharing.items()]


def _number(value: float | None, metric: str, sign: str = "") -> str:
    """Accuracies to a hundredth of a point, all else to four significant digits."""
    if value is None:
        return "–"
    return f"{value:{sign}.2f}" if metric.endswith("accuracy") else f"{value:{sign}.4g}"


def _interval(interval: Sequence[float] | None, metric: str, sign: str = "") -> str:
    if interval is None:
        return "–"
    low, high = (_number(end, metric, sign) for end in interval)
    return f"{low} … {high}"


def number_ranges(numbers: Sequence[int], noun: str = "") -> str:
    """Ascending numbers, runs of neighbours joined: ``0–3, 7``; with a noun: ``seeds 0–3, 7``."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    text = ", ".join(f"{g[0]}" if len(g) == 1 else f"{g[0]}–{g[-1]}" for g in groups)
    return f"{noun}{'s' if len(numbers) > 1 else ''} {text}" if noun else text


def duration(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float) -> str:
    """Bytes in the largest binary unit that leaves at least 1."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
