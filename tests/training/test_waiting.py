"""Threads that wait for each other give way to other programs, and nothing else changes."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
import time

import pytest
import torch

from regulab.training import waiting
from regulab.training.cores import allowed
from regulab.training.machine import process_settings

LIBRARIES = waiting._libraries()
pytestmark = pytest.mark.skipif(
    not LIBRARIES or not waiting._waited(),
    reason="no OpenMP library of GCC, or a Linux that counts no waiting",
)


def tasks() -> int:
    return len(waiting._waited())


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def watchers() -> int:
    return sum("_watch" in thread.name for thread in threading.enumerate())


def test_one_watches_however_deep_and_none_afterwards(two_threads):
    assert watchers() == 0
    with process_settings():
        assert watchers() == 1
        with process_settings():
            assert watchers() == 1
        assert watchers() == 1
    assert watchers() == 0


def test_nobody_watches_a_single_thread(two_threads):
    with process_settings(threads=1):
        assert watchers() == 0


def test_nobody_watches_after_a_failure_and_the_next_is_watched_again(two_threads):
    with pytest.raises(KeyError), process_settings():
        raise KeyError
    assert watchers() == 0
    with process_settings():
        assert watchers() == 1


def test_idle_threads_make_more_than_cores_and_end(two_threads):
    torch.ones(2**22).exp()  # so that the pool of two is there
    before = tasks()
    with waiting._more_threads_than_cores(LIBRARIES, 2):
        region = max(0, allowed() - 2) + 1  # in each library: scikit-learn may have brought one of its own
        assert tasks() == before + 1 + len(LIBRARIES) * region
    for _ in range(200):
        if tasks() == before:
            break
        time.sleep(0.01)
    assert tasks() == before


def test_numbers_and_the_count_of_threads_stay(two_threads):
    x = torch.randn(2**21, generator=torch.Generator().manual_seed(0))
    plain = x.sum(), torch.get_num_threads()
    with waiting._more_threads_than_cores(LIBRARIES, 2):
        assert (x.sum(), torch.get_num_threads()) == plain


def test_a_process_that_computes_beside_is_noticed_and_one_that_sleeps_is_not():
    spin = "while True: pass"
    code = (
        "import os, sys, threading\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"  # one core, so that two must share it
        "from regulab.training.waiting import waiting_share\n"
        "quiet = waiting_share(threading.Event(), 0.2)\n"
        "import subprocess\n"
        f"other = subprocess.Popen([sys.executable, '-c', {spin!r}])\n"
        "end = threading.Event()\n"
        "def work():\n    while not end.is_set(): pass\n"
        "worker = threading.Thread(target=work); worker.start()\n"
        "busy = waiting_share(threading.Event(), 0.5)\n"
        "end.set(); other.kill()\n"
        "print(quiet, busy)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    quiet, busy = map(float, told.stdout.split())
    assert quiet < 0.2
    assert busy > 0.3


def test_where_others_compute_waiting_threads_give_way_and_look_again(two_threads, monkeypatch):
    """The watch with shares as they come, and moments instead of seconds."""
    shares = iter([0.1, 0.9, 0.9, 0.9, 0.2, 0.9])
    over, held = threading.Event(), []

    class Held:
        def __enter__(self):
            held.append("held")

        def __exit__(self, *_):
            held.append("left")

    def share(event, seconds):
        try:
            return next(shares)
        except StopIteration:
            event.set()
            return 0.0

    pauses: list[float] = []
    monkeypatch.setattr(waiting, "waiting_share", share)
    monkeypatch.setattr(waiting, "_more_threads_than_cores", lambda *_: Held())
    monkeypatch.setattr(over, "wait", pauses.append)
    waiting._watch(over, [], 2)
    assert held == ["held", "left"] * 4
    assert pauses == [4, 8, 16, 4]


def test_where_the_system_grants_no_more_threads_the_process_lives_on():
    """As in a container that may have few: GCC's library would end it. Here memory for their stacks lacks."""
    code = (
        "import resource, threading, torch\n"
        "from regulab.training import waiting\n"
        "torch.set_num_threads(2); torch.ones(2**22).exp()\n"
        "libraries = waiting._libraries()\n"
        "over = threading.Event()\n"
        "waiting.allowed = lambda: 4000\n"
        "waiting.LONGEST = waiting.SHORTEST = 0.1\n"
        "shares = iter([0.9, 0.9])\n"
        "def share(*_):\n"
        "    found = next(shares, None)\n"
        "    if found is None: over.set()\n"
        "    return found or 0.0\n"
        "waiting.waiting_share = share\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, -1))\n"
        "waiting._watch(over, libraries, 2)\n"
        "print('lives', threading.active_count())\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert told.stdout.split() == ["lives", "1"], told.stderr


def test_libraries_are_those_that_the_process_has():
    for library in LIBRARIES:
        assert isinstance(library, ctypes.CDLL)
        assert library.omp_get_num_procs() == allowed()
