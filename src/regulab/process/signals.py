"""Signals that ask the program to stop: Ctrl-C, SIGTERM, and SIGHUP when its terminal goes.

Until something is begun that has to be put away, a signal ends the process at once: an exception in the middle of an
import may be swallowed by it, or come out as another one. From `unwinding` on the first signal raises `Stopped`, so
that half-written files are removed and locks let go; a second one ends the process at once. That is safe as well, since
every file is whole or absent. The state is the module's, as signals are the process's own.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # `typing` and `contextlib` take longer to import than all before them
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "the terminal is gone"}
AGAIN = 0.02  # seconds until a stop that could not be told is told again
PATIENCE = 5.0  # seconds that an import is given to end, before the process does
SHOW_CURSOR = b"\x1b[?25h"  # live progress hides it


class Stopped(KeyboardInterrupt):
    """A signal asked the program to stop."""


class _Received:
    received: int | None = None  # the first signal
    waited = 0.0  # seconds since, for imports
    unwinding = False
    advice = ""
    said = False


def catch() -> None:
    """Takes over the signals. SIGINT also where a shell started the program with it ignored, as background jobs are.

    SIGHUP stays ignored where it is: ``nohup`` asks for that.
    """
    for name in WORDS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is None or (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
            continue
        signal.signal(number, _receive)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, lambda _, frame: _stop(frame))
    sys.unraisablehook = _unraisable


def ignore() -> None:
    """The work is done: signals that come while Python shuts down change nothing any more."""
    for name in (*WORDS, "SIGALRM"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)


class unwinding:  # noqa: N801  # a context manager, as `contextlib` names them
    """Within, a signal raises `Stopped`; ``advice`` is added to what a person is then told."""

    def __init__(self, advice: str = "") -> None:
        self._advice = advice

    def __enter__(self) -> None:
        _Received.unwinding = True
        advise(self._advice)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _Received.unwinding = False
        if kind is None:
            check()


def advise(advice: str) -> None:
    """Sets what a person who stops the program is told to do from now on."""
    _Received.advice = advice


def received() -> int | None:
    """The first signal that came, whatever became of its exception."""
    return _Received.received


def check() -> None:
    """Raises `Stopped` where a signal came and something swallowed its exception."""
    if _Received.received is not None:
        raise Stopped


def farewell(number: int) -> str:
    """What a person is told about a signal; the same the second time."""
    _Received.said = True
    word = WORDS.get(signal.Signals(number).name, "stopped")
    return f"{word}; {_Received.advice}" if _Received.advice else word


def exit_code(number: int) -> int:
    """130 for SIGINT, 143 for SIGTERM: what shells make of a process that a signal ended."""
    return 128 + number


def _receive(number: int, frame: FrameType | None) -> None:
    if _Received.received is not None or not _Received.unwinding:
        _leave(_Received.received or number)
    _Received.received = number
    _stop(frame)


def _stop(frame: FrameType | None) -> None:
    """Raises, but not into an import, which would swallow or garble it: then a moment later."""
    if not hasattr(signal, "setitimer") or not _importing(frame):
        raise Stopped
    if _Received.waited >= PATIENCE:
        _leave(_Received.received or signal.SIGINT)
    _Received.waited += AGAIN
    signal.setitimer(signal.ITIMER_REAL, AGAIN)


def _leave(number: int) -> None:
    words = b"" if _Received.said else f"{farewell(number)}\n".encode()
    try:
        os.write(2, (SHOW_CURSOR if os.isatty(2) else b"") + words)
    finally:  # whatever became of the words
        os._exit(exit_code(number))


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _unraisable(unraisable: Any) -> None:
    """A stop that fell into a finalizer or a callback, where Python would print it and go on, is told again."""
    if isinstance(unraisable.exc_value, Stopped) and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
    else:
        sys.__unraisablehook__(unraisable)
