"""The C compiler, or whatever answers to its name: it may be absent, broken, never end, or be no compiler at all."""

from __future__ import annotations

import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from regulab.training.kernels.own_folders import exchangeable
from regulab.training.kernels.shared_objects import whole

ANSWER_SECONDS = 5.0  # to tell its version
COMPILE_SECONDS = 180.0  # takes 8 for AVX2; on two cores that ten programs shared, 60
MOST_OUTPUT = 2**16  # bytes of messages
MOST_BYTES = 2**26  # of a library; ours have 100 kB


class NoKernels(Exception):  # noqa: N818  (a finding, not a failure)
    """Why there are no kernels; torch's layers train then, and a person is told."""


class NeverEnds(NoKernels):
    """A compiler that took longer than it may."""


@cache
def compiler() -> str | None:
    """The path of the C compiler that compiles kernels: gcc or clang on Linux, Apple's on macOS; None without one."""
    if sys.platform.startswith("linux"):
        return shutil.which("gcc") or shutil.which("clang")
    if sys.platform == "darwin" and _has_apple_tools():
        return shutil.which("clang")
    return None


def _has_apple_tools() -> bool:
    """Without them macOS has a clang all the same, which opens a window that offers to install them."""
    try:
        return bool(_call(["/usr/bin/xcode-select", "--print-path"], ANSWER_SECONDS))
    except NoKernels:
        return False


def version(program: str) -> bytes:
    """What the compiler says about itself. Raises `NoKernels`."""
    return _call([program, "--version"], ANSWER_SECONDS)


def compiled(program: str, flags: Sequence[str], source: Path) -> bytes:
    """A shared library from C. Raises `NoKernels` unless a whole one comes out."""
    try:
        with own_temporary_folder() as folder:
            built = folder / "kernel.so"
            _call([program, *flags, str(source), "-o", str(built), "-lm"], COMPILE_SECONDS)
            if not built.is_file():
                raise NoKernels(f"{program} says that it compiled, and wrote nothing")
            content = regular_file(built)
    except OSError as error:
        raise NoKernels(f"no place to compile: {error.strerror}") from error
    if not whole(content):
        raise NoKernels(f"what {program} wrote is no shared library, or not a whole one")
    return content


@contextmanager
def own_temporary_folder() -> Iterator[Path]:
    """A new folder that nobody else may write to or exchange. Raises `NoKernels`; `OSError` where there is no place."""
    with tempfile.TemporaryDirectory(prefix="regulab-kernel-", ignore_cleanup_errors=True) as folder:
        problem = exchangeable(Path(folder))
        if problem is not None:
            raise NoKernels(f"no place to compile: {problem}")
        yield Path(folder)


def regular_file(
    path: str | Path, place: int | None = None, check: Callable[[os.stat_result], None] | None = None
) -> bytes:
    """The bytes of a file of a library's size, in the opened folder ``place`` if there is one.

    Raises `OSError` for links, pipes, folders and what is larger, and whatever ``check`` raises of the opened file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            raise OSError(0, "no library of ours", str(path))
        if check is not None:
            check(found)
        return file.read(MOST_BYTES + 1)


def _call(command: Sequence[str], seconds: float) -> bytes:
    """What a command prints, if it succeeds within ``seconds``; else `NoKernels`, and all that it started is ended."""
    name = command[0]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise NoKernels(f"{name} cannot be run: {error.strerror}") from error
    assert process.stdout is not None
    with process.stdout:
        try:
            said = _output(process, process.stdout.fileno(), seconds)
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode:
        first = said.decode(errors="replace").strip().partition("\n")[0][:200]
        raise NoKernels(f"{name} failed ({first or f'exit code {process.returncode}'})")
    return said


def _output(process: subprocess.Popen[bytes], descriptor: int, seconds: float) -> bytes:
    """All that is printed until the command ends; a child that it leaves behind may keep the pipe open."""
    said, end, watched = b"", time.monotonic() + seconds, select.poll()
    watched.register(descriptor, select.POLLIN | select.POLLHUP)
    os.set_blocking(descriptor, False)
    while True:
        ended = process.poll() is not None
        if watched.poll(0 if ended else 20):
            piece = os.read(descriptor, 2**14)
            said += piece
            if not piece:  # all have closed it
                watched.unregister(descriptor)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, end - time.monotonic()))
                    return said
        elif ended:
            return said
        if time.monotonic() >= end:
            raise NeverEnds(f"{command_of(process)} did not end within {seconds:g} seconds")
        if len(said) > MOST_OUTPUT:
            raise NoKernels(f"{command_of(process)} prints without end")


def command_of(process: subprocess.Popen[bytes]) -> str:
    return str(process.args[0]) if isinstance(process.args, list) else str(process.args)
