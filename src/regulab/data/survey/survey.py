"""What was found in a person's images, as plain data, and how all of them are looked at in parallel."""

from __future__ import annotations

import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regulab.data.survey.facts import Facts, Refused, look_at
from regulab.errors import UserError

WHOLE = "whole"  # the one part of images that no folder or column divides
AHEAD = 64  # files that wait for each worker, so that stopping does not wait for all of them


@dataclass(frozen=True)
class Item:
    """An image that waits to be looked at."""

    path: Path
    place: str
    part: str
    label: int


@dataclass(frozen=True, eq=False)
class Survey:
    """Images in parts (`WHOLE`, or ``train``, ``val``, ``test``) and classes, and what else a person should know."""

    path: Path
    format: str  # under which a study names them: ``folder``
    class_names: tuple[str, ...]
    images: Sequence[Facts]
    refused: Sequence[Refused] = ()
    notes: Sequence[str] = ()  # what was left out, and where images lie

    @cached_property
    def counts(self) -> dict[str, NDArray[np.int64]]:
        """For each part how many images every class has; refused files are none."""
        found: dict[str, NDArray[np.int64]] = {}
        for facts in self.images:
            found.setdefault(facts.part, np.zeros(len(self.class_names), np.int64))[facts.label] += 1
        return found

    @cached_property
    def sizes(self) -> Counter[tuple[int, int]]:
        """How many images are of each size (width, height)."""
        return Counter(facts.size for facts in self.images)

    @cached_property
    def channels(self) -> int:
        """3 where any image has colours."""
        return max(facts.channels for facts in self.images)

    @property
    def depths(self) -> Counter[str]:
        return Counter(facts.depth for facts in self.images)

    @cached_property
    def copies(self) -> list[list[Facts]]:
        """Images that are the same to the bit, in groups of two and more."""
        groups: defaultdict[tuple[bytes, tuple[int, int]], list[Facts]] = defaultdict(list)
        for facts in self.images:
            groups[facts.digest, facts.size].append(facts)
        return [group for group in groups.values() if len(group) > 1]

    @property
    def blank(self) -> list[Facts]:
        return [facts for facts in self.images if facts.blank]


def look_at_all(items: Sequence[Item], done: Callable[[], None]) -> tuple[list[Facts], list[Refused]]:
    """Every item decoded, in order, on all cores; ``done`` is called after each. Raises `UserError` where none can be
    read.

    Threads will do: Pillow decodes, and hashing runs, without Python's lock. 10,000 PNG files of 28×28 take 3 s on two
    cores; of 12-megapixel JPEG files two cores decode about 15 a second.
    """
    found: list[Facts] = []
    refused: list[Refused] = []
    with warnings.catch_warnings():  # once for all threads: filters are the process's own
        for seen in _in_parallel(items):
            found.append(seen) if isinstance(seen, Facts) else refused.append(seen)
            done()
    if not found:
        raise UserError(
            "no image can be read",
            got=f"{refused[0].reason}, and so on" if len(refused) > 1 else refused[0].reason,
            expected="images that can be opened",
            where=refused[0].place,
        )
    return found, refused


def _in_parallel(items: Sequence[Item]) -> Iterator[Facts | Refused]:
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers)
    try:
        for start in range(0, len(items), AHEAD * workers):
            yield from pool.map(_look, items[start : start + AHEAD * workers])
    finally:
        pool.shutdown(cancel_futures=True)


def _look(item: Item) -> Facts | Refused:
    return look_at(item.path, item.place, item.part, item.label)


def count_by(values: Iterable[str]) -> str:
    """``12 .jpg, 3 .png``: the most frequent first."""
    return ", ".join(f"{count:,} {value}" for value, count in Counter(values).most_common())
