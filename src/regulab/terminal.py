"""What a person sees: live progress for the whole study, plain lines elsewhere, and the tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
        self._total = self._before = self._done = 0
        self._began = self._written = clock()

    def started(self, total: int, done: int) -> None:
        self._total, self._before, self._done = total, done, done
        self._began = self._clock()
        self._written = self._began - PLAIN_INTERVAL
        rest = f", {done} of them done before" if done else ""
        self._write(f"training {total} epochs of runs{rest}")

    def epoch(self, records: Sequence[EpochRecord]) -> None:
        self._standing.update(records)
        self._done += len(records)
        now, epoch = self._clock(), records[0].epoch
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
            f"validation accuracy: {accuracies}; {100 * self._done / self._total:.0f} % of the study, "
            f"{duration(self._left(now))} left"
        )

    def message(self, text: str) -> None:
        self._write(text)

    def finished(self) -> None: ...

    def _left(self, now: float) -> float:
        return (now - self._began) / (self._done - self._before) * (self._total - self._done)


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
        self._bar.add_task("study", total=total, completed=done)
        self._live.start()

    def epoch(self, records: Sequence[EpochRecord]) -> None:
        self._standing.update(records)
        self._bar.advance(self._bar.task_ids[0], len(records))

    def message(self, text: str) -> None:
        self._console.print(text, markup=False)

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


def comparison_table(comparison: Mapping[str, Any]) -> Table:
    """The mapping of ``compare --json`` for people: an arm a row; notes below the table."""
    unit = " (%)" if comparison["metric"].endswith("accuracy") else ""
    seeds = number_ranges(comparison["seeds"], "seed") if comparison["seeds"] else "no seeds yet"
    title = f"{comparison['metric']}{unit}, {comparison['epoch']} epoch, {comparison['protocol']}, {seeds}"
    arms, baseline = comparison["arms"], comparison["baseline"]
    notes = [comparison["note"], *(arm["note"] and f"{name}: {arm['note']}" for name, arm in arms.items())]
    caption = Text("\n".join(dict.fromkeys(note for note in notes if note)), justify="left")
    table = Table(
        title=Text(title), title_justify="left", caption=caption, caption_justify="left", box=box.SIMPLE_HEAD
    )
    for column in ("arm", "mean", "95 % interval", f"− {baseline}", "95 % interval", "p (Holm)", "verdict"):
        table.add_column(Text(column), justify="left" if column in ("arm", "verdict") else "right")
    for name, arm in arms.items():
        is_baseline = name == baseline
        verdict = "baseline" if is_baseline else arm["verdict"] or "–"
        if arm["seeds_needed"]:
            verdict += f" (about {arm['seeds_needed']} seeds needed)"
        table.add_row(
            Text(name),
            _number(arm["mean"]),
            _interval(arm["ci95"]),
            "" if is_baseline else _number(arm["difference"], signed=True),
            "" if is_baseline else _interval(arm["difference_ci95"], signed=True),
            "" if is_baseline or arm["p_holm"] is None else f"{arm['p_holm']:.3g}",
            Text(verdict, style=VERDICT_STYLES.get(arm["verdict"], "")),
        )
    return table


def _number(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    digits = 3 if abs(value) < 1e4 else 0
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def _interval(interval: Sequence[float] | None, *, signed: bool = False) -> str:
    if interval is None:
        return "–"
    low, high = (_number(end, signed=signed) for end in interval)
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
