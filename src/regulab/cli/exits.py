"""Exit codes, and the one place where exceptions become them."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer

from regulab.errors import UserError

FAULT, USER_ERROR, FAILED_RUNS, INTERRUPTED = 1, 2, 3, 130
P = ParamSpec("P")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose errors end in one message on stderr and the exit code of the contract.

    ``REGULAB_DEBUG=1`` in the environment lets every error but an interruption through with its traceback.
    """

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except KeyboardInterrupt:
            _leave("interrupted; give the same command again to go on", INTERRUPTED)
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:
            _close_stdout()
            raise typer.Exit(FAULT) from None
        except Exception as error:
            if os.environ.get("REGULAB_DEBUG") == "1":
                raise
            if isinstance(error, UserError):
                _leave(f"error: {error}", USER_ERROR)
            _leave(f"error: {_one_line(error)} (REGULAB_DEBUG=1 shows where)", FAULT)

    return wrapper


def _leave(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    raise typer.Exit(code) from None


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError):
        text = error.strerror or "; ".join(line.strip() for line in str(error).splitlines())
        return f"{error.filename}: {text}" if error.filename else text
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _close_stdout() -> None:
    """Nobody reads stdout any more: what is still buffered must not complain when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
