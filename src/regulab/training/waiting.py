"""Threads of a step wait for each other: spinning where the machine is theirs, giving way where others use it too.

Torch and the compiled kernels share one OpenMP library. GCC's lets a thread that waits at a barrier spin for 300,000
turns before it sleeps, which is fastest on a quiet machine. Where the thread that is waited for is off its core, since
another program has it, spinning takes the others' cores for nothing. But where a process has more OpenMP threads than
cores, the library spins for 100 turns only (libgomp's manual, GOMP_SPINCOUNT, version 13). So where this process is
kept waiting for cores, threads that do nothing are added to make it so, and taken away now and then, to see whether
the machine is quiet again. How many threads share a step's work stays as it is, and so do all numbers.

Measured with a fleet of four (cnn10k, bf16, two cores of a Xeon, 2026-11-27), in model-images/s, spinning and giving
way: beside one busy process 4,400 and 19,600; beside two 10,900 and 10,400; beside one that is busy half of the time
22,000 and 21,000; alone 34,300 and 22,800. GOMP_SPINCOUNT=2000 for the whole process gives 16,100 beside one.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from regulab.training.cores import allowed

LOOK = 0.25  # seconds; what a look costs beside a busy process, every few seconds, is some percent
# Of the time that a look takes, added up over threads, in which they could run and had no core. Measured as above: 0.04
# alone, 0.35 beside a process that is busy half of the time, 0.85 beside one that is always.
MUCH = 0.6
SHORTEST, LONGEST = 4.0, 64.0  # seconds between two looks where the machine is shared
_watching = False


@contextmanager
def giving_way() -> Iterator[None]:
    """Inside, threads that wait for each other give way to other processes where there are some."""
    global _watching
    threads, libraries = torch.get_num_threads(), _libraries()
    if _watching or threads == 1 or not libraries or not _waited():
        yield
        return
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(over, libraries, threads), daemon=True)
    _watching = True
    try:
        watch.start()
        try:
            yield
        finally:
            over.set()
            watch.join()
    finally:
        _watching = False


def _watch(over: threading.Event, libraries: list[ctypes.CDLL], threads: int) -> None:
    pause = SHORTEST
    while not over.is_set():
        if waiting_share(over, LOOK) < MUCH:
            pause = SHORTEST
        elif not _may_start(_count(threads) * len(libraries)):
            over.wait(LONGEST)
        else:
            with _more_threads_than_cores(libraries, threads):
                over.wait(pause)
            pause = min(2 * pause, LONGEST)


def waiting_share(over: threading.Event, seconds: float) -> float:
    """How long threads of this process could run and had no core, over the time that has passed."""
    before, begin = _waited(), time.perf_counter()
    over.wait(seconds)
    after = _waited()
    waited = sum(nanoseconds - before.get(thread, 0) for thread, nanoseconds in after.items())
    return waited / 1e9 / (time.perf_counter() - begin)


def _waited() -> dict[str, int]:
    """Nanoseconds that each thread waited for a core so far, as Linux counts them; empty where nobody does."""
    waited = {}
    for thread in Path("/proc/self/task").glob("*"):
        try:
            waited[thread.name] = int((thread / "schedstat").read_text("ascii").split()[1])
        except (OSError, IndexError):  # it has ended, or this Linux does not count
            continue
    return waited


def _libraries() -> list[ctypes.CDLL]:
    """GCC's OpenMP libraries in this process; torch may bring one of its own."""
    try:
        lines = Path("/proc/self/maps").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    paths = {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6}
    found = sorted(path for path in paths if Path(path).name.startswith("libgomp"))
    libraries = [ctypes.CDLL(path) for path in found if Path(path).is_file()]
    return [library for library in libraries if hasattr(library, "GOMP_parallel")]


def _count(threads: int) -> int:
    """Threads of a region that make, with those of training, more than there are cores."""
    return max(0, allowed() - threads) + 2


def _may_start(count: int) -> bool:
    """Whether the system grants so many more threads: where it does not, the library ends the process."""
    over, started = threading.Event(), []
    try:
        for _ in range(count):
            one = threading.Thread(target=over.wait, daemon=True)
            one.start()
            started.append(one)
    except RuntimeError:
        return False
    finally:
        over.set()
        for one in started:
            one.join()
    return True


@contextmanager
def _more_threads_than_cores(libraries: list[ctypes.CDLL], threads: int) -> Iterator[None]:
    """Inside, each library holds more threads than there are cores: those of training, and idle ones.

    A thread of ours asks for a parallel region of so many, in which each calls a function that only reads a number; the
    others belong to it from then on, asleep, and end with it.
    """
    there, over = threading.Event(), threading.Event()
    count = _count(threads)

    def hold() -> None:
        for library in libraries:
            nothing = ctypes.cast(library.omp_get_num_threads, ctypes.c_void_p)
            library.GOMP_parallel(nothing, None, ctypes.c_uint(count), ctypes.c_uint(0))
        there.set()
        over.wait()

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    there.wait()
    try:
        yield
    finally:
        over.set()
        holder.join()
