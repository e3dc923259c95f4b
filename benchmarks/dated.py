"""Results of benchmarks: dated files in results/, of which none is ever overwritten."""

from __future__ import annotations

import datetime
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def place(out: Path | None, *words: str) -> Path:
    """Where a page goes: ``out``, or results/WORDS-DATE.md, numbered where it is not the day's first.

    Its figures go beside it, into a .json. Raises `FileExistsError` where ``out`` or those are there already.
    """
    if out is None:
        stem = "-".join((*words, datetime.date.today().isoformat()))
        numbers = ("", *(f"-{number}" for number in range(2, 1000)))
        return next(path for n in numbers if not taken(path := RESULTS / f"{stem}{n}.md"))
    if taken(out):
        there = " and ".join(str(path) for path in taken(out))
        raise FileExistsError(f"{there}: a result is never overwritten; give another --out, or none")
    return out


def taken(out: Path) -> list[Path]:
    """Those of a result's two files that are there."""
    return [path for path in (out, out.with_suffix(".json")) if path.exists()]


def write(out: Path, page: str, figures: str) -> None:
    """The page and its figures, a JSON text; raises `FileExistsError` rather than overwrite."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in ((out, page), (out.with_suffix(".json"), figures)):
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
