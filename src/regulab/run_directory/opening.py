"""Decides whether a folder is a run directory and whether a study may go on in it, before anything is written there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from regulab.config import Study
from regulab.errors import UserError
from regulab.files import LOCK, TEMPORARY
from regulab.records import RESULT_COLUMNS
from regulab.run_directory import enlarging
from regulab.run_directory.checksums import SELF
from regulab.run_directory.names import (
    EMPTYING,
    ENVIRONMENT,
    FLEETS,
    HISTORY,
    LOOKS,
    MARK,
    RESULTS,
    STUDY,
    is_own,
)
from regulab.run_directory.places import entries, own_places, read_file, status_of
from regulab.run_directory.reading import read_study
from regulab.run_directory.rows import FLEETS_ADAPTER, LOOKS_ADAPTER, run_of
from regulab.run_directory.text import MOST_BYTES
from regulab.run_directory.versions import refuse_unknown_columns


def refuse_foreign(path: Path) -> None:
    """Raises `UserError` for a folder that is neither empty nor a run directory: its files are somebody's own."""
    names = {entry.name for entry in entries(path) if not TEMPORARY.fullmatch(entry.name)} - {LOCK}
    if names and not _is_run_directory(path):
        raise UserError(
            "not empty and not a run directory", expected="an empty, new or run directory", where=str(path)
        )


def _is_run_directory(path: Path) -> bool:
    """A copy of a ``study.yaml`` of regulab's makes no run directory of a project: its README would be replaced.

    There is a record beside it, or no file at all that has a name of regulab's.
    """
    study, emptying = (read_file(path / name, MOST_BYTES[".yaml"]) for name in (STUDY, EMPTYING))
    mark = MARK.encode()
    if emptying is not None and emptying.startswith(mark):
        return True
    if study is None:
        return False
    return (study.startswith(mark) and not any(_others(path))) or _has_record(path)


def _others(path: Path) -> Iterator[Path]:
    """Files with a name of regulab's that tell whether a study was run here."""
    for place in own_places(path):
        own = is_own(place.relative_to(path).as_posix()) and not TEMPORARY.fullmatch(place.name)
        if own and place.name not in (STUDY, EMPTYING, LOCK):
            yield place


def _has_record(path: Path) -> bool:
    """Whether there is a file that only a study leaves, or several with such names: one may be damaged."""
    found = {
        name: read_file(path / name, MOST_BYTES[Path(name).suffix])
        for name in (FLEETS, HISTORY, RESULTS, ENVIRONMENT)
    }
    if sum(content is not None for content in found.values()) > 1:
        return True
    history, fleets = found[HISTORY] or b"", found[FLEETS]
    header = (found[RESULTS] or b"").partition(b"\n")[0].decode(errors="replace")
    if header == ",".join(RESULT_COLUMNS) or run_of(history.partition(b"\n")[0]) is not None:
        return True
    # Seeds that are added until decided begin with ``looks.json``.
    looks = read_file(path / LOOKS, MOST_BYTES[Path(LOOKS).suffix])
    return (
        _is_of(FLEETS_ADAPTER, fleets)
        or _is_of(LOOKS_ADAPTER, looks)
        or f'"{SELF}": "'.encode() in (found[ENVIRONMENT] or b"")
    )


def _is_of(kind: TypeAdapter[Any], content: bytes | None) -> bool:
    try:
        kind.validate_json(content or b"")
    except ValidationError:
        return False
    return True


def merged(path: Path, study: Study) -> Study:
    """The recorded study with the seeds and arms of both; raises `UserError` for another study."""
    if status_of(path / STUDY) is None:
        return study
    recorded = read_study(path)
    refuse_unknown_columns(path)
    return enlarging.merged(recorded, study, str(path))
