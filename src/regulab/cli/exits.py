"""Exit codes, and the one place where exceptions become them."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import typer

import regulab
from regulab.errors import UserError, printable
from regulab.process import signals

FAULT, USER_ERROR, FAILED_RUNS = 1, 2, 3
DECLINED = 130  # by a person who was asked; as after an interruption, nothing is wrong and nothing is done
AGAIN = "give the same command again to go on"
DEBUG = "REGULAB_DEBUG=1 shows where"
MOST_CHARACTERS = 2000  # of a message
PACKAGE = Path(regulab.__file__).parent
P = ParamSpec("P")

# What a person can put right, where nothing closer to it has said so.
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
MISPLACED = {errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
FULL = {errno.ENOSPC, errno.EDQUOT}


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose errors end in one message on stderr and the exit code of the contract.

    ``REGULAB_DEBUG=1`` in the environment lets every error except an interruption through with its traceback.
    """

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            signals.check()
        except (typer.Exit, typer.Abort):
            raise
        except BaseException as error:  # the chart converter's panics are no `Exception`
            stopped = signals.received()
            if stopped is not None or isinstance(error, KeyboardInterrupt):
                number = stopped or signal.SIGINT
                _leave(signals.farewell(number), signals.exit_code(number))
            if os.environ.get("REGULAB_DEBUG") == "1":
                raise
            _leave(*explained(error))

    return wrapper


def explained(error: BaseException) -> tuple[str, int]:
    """The message for an exception, and the exit code: 2 where a person can put it right, 1 elsewhere."""
    if isinstance(error, UserError):
        return failure(str(error)), USER_ERROR
    if isinstance(error, OSError):
        return _of_system(error)
    if _out_of_memory(error):
        cure = "fewer arms or a smaller train.batch_size need less"
        said = _first_line(error)
        return failure(f"out of memory{_where(error)}{': ' if said else ''}{said}; {cure} ({DEBUG})"), FAULT
    if isinstance(error, SystemExit):
        return failure(f"something that was called ended the program{_where(error)} ({DEBUG})"), FAULT
    text = _first_line(error)
    name = type(error).__name__
    return failure(f"{name}: {text} ({DEBUG})" if text else f"{name}{_where(error)} ({DEBUG})"), FAULT


def failure(problem: str, where: str = "") -> str:
    """An error as a person reads it: one line, whatever it contains."""
    return printable(f"error: {where}: {problem}" if where else f"error: {problem}", MOST_CHARACTERS)


def _leave(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    raise typer.Exit(code) from None


def _of_system(error: OSError) -> tuple[str, int]:
    text = (
        error.strerror or "; ".join(line.strip() for line in str(error).splitlines()) or type(error).__name__
    )
    places = [os.fsdecode(p) for p in (error.filename, error.filename2) if isinstance(p, str | bytes)]
    where = " → ".join(places)
    if where and error.errno in FORBIDDEN:
        return failure(f"{text}; expected permission to use it", where), USER_ERROR
    if where and error.errno in MISPLACED:
        return failure(text, where), USER_ERROR
    if error.errno in FULL:
        return failure(f"{text}; make room, then {AGAIN}", where), FAULT
    return failure(f"{text} ({DEBUG})", where), FAULT


def _out_of_memory(error: BaseException) -> bool:
    """Python's and numpy's own, torch's for a device, and what torch says of a processor's."""
    said = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _where(error: BaseException) -> str:
    """`` in training/fleet.py, line 12``: the last place in regulab that an exception came through."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(PACKAGE)
    ]
    inner = [f for f in frames if not Path(f.filename).is_relative_to(PACKAGE / "cli")]
    if not inner:
        return ""
    return f" in {Path(inner[-1].filename).relative_to(PACKAGE)}, line {inner[-1].lineno}"
