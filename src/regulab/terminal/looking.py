"""Shows how far images have been looked at: a bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from regulab.terminal.consoles import errors


@contextmanager
def looking() -> Iterator[Callable[[int], Callable[[], None]]]:
    """Gives what is told how many images there are, and gives back what is called after each of them."""
    console = errors()
    columns = (
        TextColumn("looking at"),
        MofNCompleteColumn(),
        TextColumn("images"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    hidden = not console.is_terminal or console.is_dumb_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:

        def started(images: int) -> Callable[[], None]:
            task = progress.add_task("", total=images)
            return lambda: progress.advance(task)

        yield started
