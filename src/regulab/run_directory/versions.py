"""Which version of regulab wrote a run directory, to be named where this version cannot read it.

A directory carries the number of its format in ``environment.json``. The number is raised when an older version would
misread what a newer one writes; keys and columns that are merely added leave it. Directories without a number have
format 1.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from regulab import __version__
from regulab.errors import UserError
from regulab.records import RESULT_COLUMNS, EpochRecord
from regulab.run_directory.names import ENVIRONMENT, FLEETS, HISTORY, RESULTS
from regulab.run_directory.places import read_file, status_of
from regulab.run_directory.text import MOST_BYTES, cut, read_json

FORMAT = 1
HISTORY_COLUMNS = tuple(field.name for field in fields(EpochRecord))
MOST_LINE = 2**16
FORMAT_KEY = "format"
VERSION = re.compile(
    r"[0-9][0-9A-Za-z.+!_-]{0,60}"
)  # what a file says is shown, and may be typed into a shell
WRITTEN_BY = "written by regulab "


@contextmanager
def naming_the_writer(path: Path) -> Iterator[None]:
    """Reading a run directory: a `UserError` also says which version wrote it, if it was another, and what to do."""
    try:
        yield
    except UserError as error:
        writer = writer_of(path)
        if writer in (None, __version__) or WRITTEN_BY in error.cure:
            raise
        cure = f"{error.cure}; {_cure(writer)}" if error.cure else _cure(writer)
        raise UserError(
            error.problem, got=error.got, expected=error.expected, where=error.where, cure=cure
        ) from error


def refuse_newer_format(path: Path) -> None:
    """Raises `UserError` where a run directory has a format that this version does not know."""
    found = _content(path / ENVIRONMENT)
    number = found.get(FORMAT_KEY, FORMAT) if isinstance(found, Mapping) else FORMAT
    if number != FORMAT:
        raise UserError(
            "a run directory of another format",
            got=number,
            expected=str(FORMAT),
            where=str(path / ENVIRONMENT),
            cure=_cure(writer_of(path)),
        )


def refuse_unknown_columns(path: Path) -> None:
    """Raises `UserError` where results or history have columns that this version would drop by writing them anew."""
    table, line = (_first_line(path / name) for name in (RESULTS, HISTORY))
    try:
        record = json.loads(line)
    except ValueError:  # damaged, which others complain of
        record = {}
    for name, columns, known in (
        (RESULTS, next(csv.reader([table]), []), RESULT_COLUMNS),
        (HISTORY, list(record) if isinstance(record, dict) else [], HISTORY_COLUMNS),
    ):
        unknown = [column for column in columns if column not in known]
        if unknown:
            raise UserError(
                "columns that this version of regulab does not know",
                got=", ".join(map(cut, unknown)),
                where=str(path / name),
                cure=_cure(writer_of(path)),
            )


def _first_line(path: Path) -> str:
    content = read_file(path, MOST_BYTES[path.suffix], first=MOST_LINE) or b""
    return content.partition(b"\n")[0].decode(errors="replace")


def writer_of(path: Path) -> str | None:
    """The version of regulab that last trained in a run directory; None where no file says it."""
    found = _content(path / ENVIRONMENT)
    if not isinstance(found, Mapping) or "regulab" not in found:
        fleets = _content(path / FLEETS)
        conditions = [
            one
            for fleet in (fleets if isinstance(fleets, list) else [])
            if isinstance(fleet, Mapping) and isinstance(fleet.get("conditions"), list)
            for one in fleet["conditions"]
        ]
        found = conditions[-1] if conditions else None
    version = found.get("regulab") if isinstance(found, Mapping) else None
    return version if isinstance(version, str) and VERSION.fullmatch(version) else None


def _cure(writer: str | None) -> str:
    here = f"this is {__version__}"
    if writer is None:
        return f"by which version is not known, {here}: read it with that one, or start over with --fresh"
    return f"{WRITTEN_BY}{writer}, {here}: `pip install regulab=={writer}` reads it, or give --fresh to start over"


def _content(path: Path) -> Any:
    """A JSON file's content; None where it is absent or damaged, which others complain of."""
    try:
        return None if status_of(path) is None else read_json(path)
    except UserError:
        return None
