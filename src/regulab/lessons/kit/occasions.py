"""When, on what and how fast lessons were measured: ``measured.csv`` beside their JSON.

It is a file of its own so that the JSON has the same bytes whenever the numbers are the same.
"""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch

import regulab
from regulab.errors import UserError
from regulab.files import write_whole
from regulab.run_directory.reading import read_text
from regulab.training.environment import processor

OCCASIONS = "measured.csv"


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """What may differ although the numbers are the same."""

    seconds: float | None
    measured: str  # date, versions and machine


def here_and_now() -> str:
    """What numbers may depend on apart from the lesson: date, versions, machine."""
    return (
        f"on {date.today().isoformat()} with regulab {regulab.__version__}, torch {torch.__version__}, numpy"
        f" {np.__version__}, Python {platform.python_version()}, on {processor()}, {torch.get_num_threads()} threads"
    )


def read_occasions(out: Path) -> dict[str, Occasion]:
    """The occasion of each lesson by its name; nothing where that was not kept."""
    path = out / OCCASIONS
    if not path.exists():
        return {}
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        return {
            row["lesson"]: Occasion(
                seconds=float(row["seconds"]) if row["seconds"] else None, measured=row["measured"]
            )
            for row in rows
        }
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"damaged: {error!r}", expected="lesson,seconds,measured", where=str(path)) from error


def write_occasions(out: Path, occasions: Mapping[str, Occasion]) -> None:
    """Writes ``measured.csv``: one row a lesson, in alphabetical order."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("lesson", "seconds", "measured"))
    for name, occasion in sorted(occasions.items()):
        seconds = "" if occasion.seconds is None else f"{occasion.seconds:.1f}"
        table.writerow((name, seconds, occasion.measured))
    write_whole(out / OCCASIONS, text.getvalue().encode())
