"""The two consoles, and how numbers of seeds, times and bytes are written."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

PLAIN_WIDTH = 200  # columns of a table that goes into a file or a pipe


def output() -> Console:
    """The console for results; no colours and wide lines where it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def errors() -> Console:
    """The console for progress and messages."""
    return Console(stderr=True, highlight=False)


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


def about(seconds: float) -> str:
    """An estimate in words, no more exact than it is: ``40 seconds``, ``14 minutes``, ``3.5 hours``."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.2g} hours"


def size(count: float) -> str:
    """Bytes in the largest binary unit that leaves at least 1."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
