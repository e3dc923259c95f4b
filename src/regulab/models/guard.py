"""Runs a person's code: what it breaks in the process is mended, and what it raises becomes a `UserError`."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import numpy as np
import torch

from regulab.errors import UserError

SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGPIPE")
    if hasattr(signal, name)
)
LONGEST_MESSAGE = 500  # characters of an exception that are repeated


@contextmanager
def guarded(
    problem: str, *, where: str, expected: str | Callable[[BaseException], str] = "", show: bool = False
) -> Iterator[list[str]]:
    """Runs a person's code. Whatever it raises except `KeyboardInterrupt`, ``sys.exit`` included, becomes a
    `UserError`.

    ``problem`` begins the message, the exception's type and words follow; ``expected`` is the cure, which may depend on
    the exception. What the code prints comes out on stderr where ``show`` is set, else nowhere: stdout is for results,
    and the same constructor runs many times. Streams, hooks, signal handlers, working folder, ``sys.path``, settings of
    torch and numpy are afterwards what they were; the list that is yielded names those that had changed.
    """
    changed: list[str] = []
    state, streams = _ProcessSettings(), _Streams()
    try:
        yield changed
    except (KeyboardInterrupt, UserError):
        raise
    except BaseException as error:
        cure = expected if isinstance(expected, str) else expected(error)
        raise UserError(f"{problem}: {words_of(error)}", expected=cure, where=where) from error
    finally:
        changed += state.restore()
        changed += streams.restore(show)


def words_of(error: BaseException) -> str:
    """An exception's type and message on one line, cut if very long."""
    try:
        said = str(error)
    except Exception:  # a person's own exception may fail at this too
        said = ""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(said.split()))
    if isinstance(error, SystemExit):
        return f"it ends the program (sys.exit({text}))"
    name = type(error).__name__
    cut = text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + " …"
    return f"{name}: {cut}" if cut else name


def _set_device(device: torch.device) -> None:
    torch.set_default_device(None if device == torch.device("cpu") else device)


def _set_deterministic(mode: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(mode[0], warn_only=mode[1])


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _attribute(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


NUMERICAL: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "torch's default type": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (torch.get_default_device, _set_device),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "torch's deterministic algorithms": (_deterministic, _set_deterministic),
    "torch's precision of products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "cuDNN's determinism": _attribute(torch.backends.cudnn, "deterministic"),
    "cuDNN's benchmark": _attribute(torch.backends.cudnn, "benchmark"),
    "cuDNN's TF32": _attribute(torch.backends.cudnn, "allow_tf32"),
    "numpy's treatment of errors": (np.geterr, lambda value: np.seterr(**value)),
}


_HOOKS: dict[str, Callable[[], Any]] = {
    "sys.excepthook": lambda: sys.excepthook,
    "sys.displayhook": lambda: sys.displayhook,
    "sys.unraisablehook": lambda: sys.unraisablehook,
    "threading.excepthook": lambda: threading.excepthook,
}


class _ProcessSettings:
    """Settings of the process that a person's code may change."""

    def __init__(self) -> None:
        self._numerical = {name: read() for name, (read, _) in NUMERICAL.items()}
        self._hooks = {name: read() for name, read in _HOOKS.items()}
        self._path, self._filters = list(sys.path), list(warnings.filters)
        self._recursion = sys.getrecursionlimit()
        self._folder = _folder()
        self._main = threading.current_thread() is threading.main_thread()
        self._handlers = {number: signal.getsignal(number) for number in SIGNALS} if self._main else {}

    def restore(self) -> list[str]:
        """Puts all back; the names of what had changed."""
        changed = []
        for name, (read, write) in NUMERICAL.items():
            if read() != self._numerical[name]:
                write(self._numerical[name])
                changed.append(name)
        changed += [name for name, value in _HOOKS.items() if value() is not self._hooks[name]]
        sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook = self._hooks.values()
        changed += ["sys.path"] if sys.path != self._path else []
        sys.path[:] = self._path
        if warnings.filters != self._filters:
            warnings.filters[:] = self._filters  # type: ignore[index]
            with warnings.catch_warnings():  # leaving it tells the module that its filters changed
                pass
        sys.setrecursionlimit(self._recursion)
        if self._folder is not None and _folder() != self._folder:
            os.chdir(self._folder)
            changed.append("the working folder")
        for number, handler in self._handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
                changed.append(f"the handler of {signal.Signals(number).name}")
        return changed


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


class _Kept(io.BytesIO):
    """Memory that stays readable when it, or a wrapper around it, is closed."""

    asked = False

    def close(self) -> None:
        self.asked = True


class _Streams:
    """Stand-ins for stdin, stdout and stderr, and the real ones put back, opened again if they were closed."""

    def __init__(self) -> None:
        self._real = (sys.stdin, sys.stdout, sys.stderr)
        self._copies = {number: _copy(number) for number in (1, 2)}
        self._said = _Kept()
        out = io.TextIOWrapper(self._said, "utf-8", "backslashreplace", write_through=True)
        self._out = out
        sys.stdin, sys.stdout, sys.stderr = io.StringIO(), out, out

    def restore(self, show: bool) -> list[str]:
        """Puts all back; which of stdout and stderr had been closed or replaced."""
        changed = []
        for number, copy in self._copies.items():
            if copy is not None:
                if not _is_open(number):
                    os.dup2(copy, number)
                    changed.append(f"file descriptor {number}")
                os.close(copy)
        for name, real in (("stdout", self._real[1]), ("stderr", self._real[2])):
            now = getattr(sys, name)
            if now is not self._out or self._said.asked or (real is not None and real.closed):
                changed.append(f"sys.{name}")
        for put in (sys.stdout, sys.stderr):  # a wrapper that the code put there may hold text back
            with suppress(Exception):
                put.flush()
        stdin, stdout, stderr = self._real
        sys.stdin, sys.stdout, sys.stderr = stdin, _again(stdout, 1), _again(stderr, 2)
        text = self._said.getvalue().decode("utf-8", "replace")
        if show and text and sys.stderr is not None:
            with suppress(OSError, ValueError):
                sys.stderr.write(text if text.endswith("\n") else text + "\n")
        return changed


def _copy(number: int) -> int | None:
    try:
        return os.dup(number)
    except OSError:
        return None


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _again(stream: TextIO, number: int) -> TextIO:
    """A stream, or where a person's code closed it, a new one for the same file."""
    if stream is None or not stream.closed or not _is_open(number):
        return stream
    return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
