"""Classes whose names look like one (``Cat`` and ``cat``, ``1`` and ``01``) or like none, and those without images."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regulab.data.names import visible

MISSING = frozenset(
    ("nan", "<na>", "nat", "null", "none", "n/a", "na")
)  # what tables and pandas write for nothing
SHOWN = 3


def alike(class_names: Sequence[str]) -> tuple[str, ...]:
    """Notes on names that differ only in case, spaces, accents' spelling or a number's, and on names that mean none."""
    found: dict[str, list[str]] = {}
    for name in class_names:
        found.setdefault(_plain(name), []).append(name)
    several = [f"({', '.join(map(_quoted, names))})" for names in found.values() if len(names) > 1]
    notes = []
    if several:
        more = f" and {len(several) - SHOWN:,} more" if len(several) > SHOWN else ""
        notes.append(
            f"classes with names that look alike are different classes here: {', '.join(several[:SHOWN])}{more}; "
            "if they are one, give them one name"
        )
    missing = [name for name in class_names if name.strip().lower() in MISSING]
    if missing:
        notes.append(
            f"{', '.join(map(_quoted, missing))} is a class here; if it says that a label is missing, leave its images "
            "out"
        )
    return tuple(notes)


def without_images(class_names: Sequence[str], labels: NDArray[np.int64]) -> tuple[str, ...]:
    """A note on the classes that none of the labels ``(N,)`` of the training part has."""
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    none = [name for name, count in zip(class_names, counts, strict=True) if not count]
    if not none:
        return ()
    return (
        f"no training image has the class {', '.join(map(_quoted, none[:SHOWN]))}"
        + (f" or one of {len(none) - SHOWN:,} others" if len(none) > SHOWN else "")
        + "; if labels count from 1, the names are those of their neighbours",
    )


def _plain(name: str) -> str:
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    try:
        return f"number {float(text):g}" if text[:1].isdigit() else text
    except ValueError:
        return text


def _quoted(name: str) -> str:
    return f"“{visible(name)}”"
