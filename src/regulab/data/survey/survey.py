"""What was found in a person's images, as plain data, and how all of them are looked at in parallel."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regulab.data.formats.in_order import in_order, threads_for
from regulab.data.formats.split_folders import ORDER
from regulab.data.survey.facts import Facts, Refused, look_at
from regulab.errors import UserError

WHOLE = "whole"  # the one part of images that no folder or column divides
WHAT = "looking at images"


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
        return {part: found[part] for part in (WHOLE, *ORDER) if part in found}

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


def look_at_all(items: Sequence[Item]) -> tuple[list[Facts], list[Refused]]:
    """Every item decoded, in order; raises `UserError` where none can be read.

    10,000 PNG files of 28×28 take 3 s of one core of a Xeon, 1,000 photographs of 12 megapixels a minute, which all
    cores share.
    """
    found: list[Facts] = []
    refused: list[Refused] = []
    total = sum(item.path.stat().st_size for item in items if item.path.exists())
    for _, seen in in_order(_look, items, what=WHAT, threads=threads_for(total, len(items))):
        if isinstance(seen, Facts):
            found.append(seen)
        else:
            refused.append(seen)
    if not found:
        raise UserError(
            "no image can be read",
            got=refused[0].reason,
            expected="images that can be opened",
            where=f"{refused[0].place} and {len(refused) - 1:,} more"
            if len(refused) > 1
            else refused[0].place,
        )
    return found, refused


def _look(item: Item) -> Facts | Refused:
    return look_at(item.path, item.place, item.part, item.label)
