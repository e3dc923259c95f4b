"""Shows how training goes: a live table with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from regulab.progress import Beginning, Outcome, Progress, Silent
from regulab.records import EpochRecord
from regulab.terminal.consoles import duration, errors, number_ranges
from regulab.wording import NAME_LIMIT, one_line, quoted, visible

PLAIN_INTERVAL = 3.0  # seconds between plain lines, at least
WARM_UP = 20.0  # seconds; a first epoch that takes longer tells the speed, a shorter one does not


def progress_for(*, quiet: bool) -> Progress:
    """Nothing if ``quiet``, bars on a terminal, lines elsewhere; all on stderr."""
    console = errors()
    if quiet:
        return Silent()
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveProgress(console)
    return PlainProgress(lambda line: print(line, file=sys.stderr, flush=True))


@dataclass(frozen=True)
class Standing:
    """How far an arm has come: its runs of ``seeds`` after ``epoch``, and the mean of their validation accuracies, in
    %."""

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

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._arms: tuple[str, ...] = ()
        self._epochs = self._total = self._done = 0
        self._mark = (clock(), 0)  # a time, and the units done at that time, from which the rate is taken
        self._written, self._warm = -math.inf, False

    def started(self, beginning: Beginning) -> None:
        self._arms, self._epochs = beginning.arms, beginning.epochs
        self._total, self._done = beginning.total, beginning.done
        self._mark = (self._clock(), self._done)
        rest = f", {self._done} of them done before" if self._done else ""
        self._write(f"training {self._total} epochs of runs{rest}")

    def epoch(self, records: Sequence[EpochRecord]) -> None:
        self._done += len(records)
        now, epoch = self._clock(), records[0].epoch
        left = self._seconds_left(now)
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

    @contextmanager
    def reading(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A line every few seconds, none where it takes no longer."""
        done, written = 0, self._clock()

        def advance(count: int) -> None:
            nonlocal done, written
            done += count
            if self._clock() - written >= PLAIN_INTERVAL:
                written = self._clock()
                self._write(f"{what}: {done:,} of {total:,}")

        yield advance

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

    def finished(self, outcome: Outcome | BaseException) -> None: ...

    def _seconds_left(self, now: float) -> float | None:
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

    def __init__(self, console: Console) -> None:
        self._console = console
        self._arms: tuple[str, ...] = ()
        self._epochs = 0
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

    def started(self, beginning: Beginning) -> None:
        self._arms, self._epochs = beginning.arms, beginning.epochs
        total, done = beginning.total, beginning.done
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

    @contextmanager
    def reading(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar that goes when it is full."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        with RichProgress(*columns, console=self._console, expand=True, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)

    def finished(self, outcome: Outcome | BaseException) -> None:
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
