"""What a person sees: live progress for the whole study, plain lines elsewhere, and the tables."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from regulab.progress import Progress, Silent
from regulab.records import EpochRecord
from regulab.wording import NAME_LIMIT, NOTE_LIMIT, listed, named, one_line, quoted, visible

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


@dataclass(frozen=True)
class Standing:
    """How far an arm is: its runs of ``seeds`` after ``epoch``, and the mean of their validation accuracies, in %."""

    arm: str
    seeds: tuple[int, ...]
    epoch: int
    accuracy: float | None

    @staticmethod
    def of(arm: str, records: Sequence[EpochRecord]) -> Standing | None:
        """Of the records at the arm's newest epoch that have an accuracy; None where the arm has no record at all.

        A run that stopped early or diverged is left behind at an older epoch, or has none: its seed is not named.
        """
        own = [record for record in records if record.arm == arm]
        if not own:
            return None
        newest = max(record.epoch for record in own)
        counted = {r.seed: r.val_accuracy for r in own if r.epoch == newest and r.val_accuracy is not None}
        mean = sum(counted.values()) / len(counted) if counted else None
        return Standing(arm, tuple(sorted(counted)), newest, mean)


class PlainProgress:
    """One line every few seconds, and one at the end of each fleet: for pipes, files and CI logs."""

    def __init__(
        self,
        arms: Sequence[str],
        epochs: int,
        write: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._arms, self._epochs, self._write, self._clock = tuple(arms), epochs, write, clock
        self._total = self._done = 0
        self._mark = (clock(), 0)  # a time, and the units done at that time, from which the rate is taken
        self._written, self._warm = -math.inf, False

    def started(self, total: int, done: int) -> None:
        self._total, self._done = total, done
        self._mark = (self._clock(), done)
        rest = f", {done} of them done before" if done else ""
        self._write(f"training {total} epochs of runs{rest}")

    def epoch(self, records: Sequence[EpochRecord]) -> None:
        self._done += len(records)
        now, epoch = self._clock(), records[0].epoch
        left = self._left(now)
        if now - self._written < PLAIN_INTERVAL and epoch < self._epochs:
            return
        self._written = now
        seeds = tuple(sorted({record.seed for record in records}))
        self._write(
            f"epoch {epoch}/{self._epochs} of {number_ranges(seeds, 'seed')}; "
            f"validation accuracy: {self._accuracies(records, seeds)}; "
            f"{100 * self._done / self._total:.0f} % of the study"
            + ("" if left is None else f", {duration(left)} left")
        )

    def _accuracies(self, records: Sequence[EpochRecord], seeds: tuple[int, ...]) -> str:
        """Of the arms that just advanced; which seeds a number is of stands beside it where it is not of all."""
        found = [one for arm in self._arms if (one := Standing.of(arm, records)) is not None]
        texts = [
            f"{quoted(one.arm)} {one.accuracy:.2f} %"
            + ("" if one.seeds == seeds else f" ({number_ranges(one.seeds, 'seed')})")
            for one in found
            if one.accuracy is not None
        ]
        return ", ".join(texts) or "no finite number"

    def message(self, text: str) -> None:
        self._write(visible(text, isolates=True))

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
        self._arms, self._epochs, self._console = tuple(arms), epochs, console
        self._latest: dict[tuple[str, int], EpochRecord] = {}
        self._seeds: frozenset[int] = frozenset()  # of the fleet that advanced last
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
        self._latest.update({(record.arm, record.seed): record for record in records})
        self._seeds = frozenset(record.seed for record in records)
        self._bar.advance(self._bar.task_ids[0], len(records))

    def message(self, text: str) -> None:
        self._console.print(visible(text, isolates=True), markup=False, highlight=False)

    def finished(self) -> None:
        self._live.stop()

    def _render(self) -> Group:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("arm", "seeds", "epoch", "validation accuracy"):
            table.add_column(column, justify="left" if column == "arm" else "right")
        shown = [record for (_, seed), record in self._latest.items() if seed in self._seeds]
        for arm in self._arms:
            one = Standing.of(arm, shown)  # of the same seeds in every row, so that rows may be compared
            table.add_row(
                Text(one_line(arm, NAME_LIMIT)),
                number_ranges(one.seeds) if one and one.seeds else "–",
                f"{one.epoch if one else 0}/{self._epochs}",
                "–" if one is None or one.accuracy is None else f"{one.accuracy:.2f} %",
            )
        return Group(table, self._bar)


ASSUMED = (
    "sign flips take differences for symmetric about 0 (about the margin either way for equivalence); a false "
    "difference is held at 5 % over all arms, and so is a false equivalence, each by itself"
)


def print_comparison(comparison: Mapping[str, Any], console: Console) -> None:
    """The mapping of ``compare --json`` for people: an arm a row, what remains to be said below.

    Where the columns do not fit the console, an arm's numbers stand under its name instead: none is cut off.
    """
    sequential = comparison["rule"] == "sequential"
    numbers = _sequential_columns(comparison) if sequential else _fixed_columns(comparison["baseline"])
    columns = ["arm", "mean", *numbers, "verdict"]
    rows = [_cells(comparison, name, sequential=sequential) for name in comparison["arms"]]
    table = _table(columns, rows)
    unlimited = console.options.update(max_width=10_000)
    if Measurement.get(console, unlimited, table).minimum <= console.width:
        table.title = Text(headline(comparison))
        console.print(table)
    else:
        console.print(Text(headline(comparison)))
        _print_stacked(columns, rows, console)
    for note in comparison_notes(comparison):
        console.print(note, markup=False, soft_wrap=not console.is_terminal)


def print_training_notes(environment: Mapping[str, Any], console: Console) -> None:
    """What was notable in training, as the pages say it: a line for each note."""
    for note in environment.get("notes", ()):
        said = one_line(note, NOTE_LIMIT)
        line = said if said.startswith("data: ") else f"training: {said}"  # of the files, not of training
        console.print(line, markup=False, soft_wrap=not console.is_terminal)


def headline(comparison: Mapping[str, Any]) -> str:
    """What is compared: ``test_accuracy in %, final epoch, holdout, seeds 0–2``."""
    metric = comparison["metric"]
    seeds = number_ranges(comparison["seeds"], "seed") if comparison["seeds"] else "no seeds yet"
    unit = " in %" if metric.endswith("accuracy") else ""
    return ", ".join((f"{metric}{unit}", f"{comparison['epoch']} epoch", comparison["protocol"], seeds))


def _cells(comparison: Mapping[str, Any], name: str, *, sequential: bool) -> list[str]:
    """An arm's cells, in the order of the columns."""
    arm, metric, baseline = comparison["arms"][name], comparison["metric"], comparison["baseline"]
    own, against = _sequential_cells(arm, metric) if sequential else _fixed_cells(arm, metric)
    if name == baseline:
        against = [""] * len(against)
    verdict = "baseline" if name == baseline else arm["verdict"] or "–"
    return [one_line(name, NAME_LIMIT), _number(arm["mean"], metric), *own, *against, verdict]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        justify: Literal["left", "right"] = "left" if column in ("arm", "verdict") else "right"
        table.add_column(Text(column), justify=justify, no_wrap=column in ("mean", "p (Holm)", "verdict"))
    for name, *cells, verdict in rows:
        table.add_row(Text(name), *cells, Text(verdict, style=VERDICT_STYLES.get(verdict, "")))
    return table


def _print_stacked(columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """An arm a paragraph: its name and verdict, and a line for each number."""
    for name, *cells, verdict in rows:
        console.print(Text.assemble("\n", named(name), ": ", (verdict, VERDICT_STYLES.get(verdict, ""))))
        for column, cell in zip(columns[1:-1], cells, strict=True):
            if cell:
                console.print(Text(f"  {column}: {cell}"))


def _fixed_columns(baseline: str) -> list[str]:
    return ["95 % interval", f"− {quoted(baseline)}", "95 % interval", "p (Holm)"]


def _fixed_cells(arm: Mapping[str, Any], metric: str) -> tuple[list[str], list[str]]:
    """What stands for the arm itself, and what for its comparison with the baseline."""
    p = "–" if arm["p_holm"] is None else f"{arm['p_holm']:.3g}"
    difference = _number(arm["difference"], metric, "+")
    return [_interval(arm["ci95"], metric)], [difference, _interval(arm["difference_ci95"], metric, "+"), p]


def _sequential_columns(comparison: Mapping[str, Any]) -> list[str]:
    """e-values stand against their threshold, which is the same for all arms."""
    threshold = f"{comparison['e_threshold']:.4g}"
    return [
        f"− {quoted(comparison['baseline'])}",
        "pairs",
        f"e differs (≥ {threshold})",
        f"e equal (≥ {threshold})",
    ]


def _sequential_cells(arm: Mapping[str, Any], metric: str) -> tuple[list[str], list[str]]:
    pairs = "–" if arm["looked_at"] is None else str(arm["looked_at"])
    evidence = ["–" if arm[key] is None else f"{arm[key]:.3g}" for key in ("e", "e_equivalent")]
    return [], [_number(arm["difference"], metric, "+"), pairs, *evidence]


def comparison_notes(comparison: Mapping[str, Any]) -> list[str]:
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
        verdicts = ", ".join(
            f"{quoted(name)} {verdict or '–'}" for name, verdict in first["verdicts"].items()
        )
        own.append(f"the look at {number_ranges(sorted(first['seeds']), 'seed')} said: {verdicts}")
    if sequential:
        own.append(
            "judged by sign e-values of the median difference, which may be looked at while seeds are added "
            f"(looks so far: {comparison['looks']}); p and intervals would not hold"
        )
    return [
        visible(note, isolates=True)
        for note in own + [f"{listed(names)}: {note}" for note, names in sharing.items()]
    ]


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
