"""Classes whose names a person would take for one: ``Cat`` and ``cat``, ``1`` and ``01``; and labels that are missing."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from regulab.data.names import visible

MISSING = frozenset(("nan", "<na>", "nat", "null", "none", "n/a", "na"))  # what tables and pandas write for nothing
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


def _plain(name: str) -> str:
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    try:
        return f"number {float(text):g}" if text[:1].isdigit() else text
    except ValueError:
        return text


def _quoted(name: str) -> str:
    return f"“{visible(name)}”"
