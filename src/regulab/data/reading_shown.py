"""Who is shown how far the reading of image files has come, and told what takes its time before anything trains.

Datasets of many files take minutes the first time, and kernels are compiled in seconds.

A dataset's ``load`` knows nothing of terminals, and those who have one know nothing of files: what stands between them
is a context variable. It changes nothing that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

Advance = Callable[[int], None]  # so many more are done
Shown = Callable[[str, int], AbstractContextManager[Advance]]  # what is done, and how many there are


def _nobody(_what: str, _total: int) -> AbstractContextManager[Advance]:
    return nullcontext(lambda _count: None)


def _unheard(_text: str) -> None: ...


_SHOWN: ContextVar[Shown] = ContextVar("shown", default=_nobody)
_TOLD: ContextVar[Callable[[str], None]] = ContextVar("told", default=_unheard)


@contextmanager
def reading_shown(shown: Shown | None, told: Callable[[str], None]) -> Iterator[None]:
    """Whatever is read within is shown by ``shown`` (None: not at all), and ``told`` hears what a person should know:
    of caches, of compilers.
    """
    before = _SHOWN.set(shown or _nobody), _TOLD.set(told)
    try:
        yield
    finally:
        _SHOWN.reset(before[0])
        _TOLD.reset(before[1])


def show(what: str, total: int) -> AbstractContextManager[Advance]:
    """Within it so many things are done, as its value is told."""
    return _SHOWN.get()(what, total)


def tell(text: str) -> None:
    """Says a sentence to whoever listens."""
    _TOLD.get()(text)
