"""``history.jsonl``: the only file that grows, by one line for each run and epoch. Checkpoints know its valid
length."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from regulab.errors import UserError
from regulab.files import NO_FOLLOW, refusing
from regulab.records import EpochRecord
from regulab.run_directory.names import HISTORY
from regulab.run_directory.places import read_file, status_of, write_inside
from regulab.run_directory.rows import epoch_record, run_of
from regulab.run_directory.text import MOST_BYTES


def append(directory: Path, records: Sequence[EpochRecord]) -> int:
    """Appends one line per record in a single write, which is on the disk on return; the file's length in bytes."""
    lines = b"".join(json.dumps(asdict(record), allow_nan=False).encode() + b"\n" for record in records)
    with refusing(directory / HISTORY), _opened(directory) as file:
        view = memoryview(lines)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())
        return file.tell()


def length(directory: Path) -> int:
    """Bytes in the file; 0 where it is absent."""
    found = status_of(directory / HISTORY)
    return 0 if found is None else found.st_size


def truncate(directory: Path, valid: int) -> None:
    """Drops what was appended after the first ``valid`` bytes. Raises `UserError` where there are fewer."""
    if length(directory) < valid:
        raise UserError(
            "shorter than its checkpoint knows; give --fresh to start over",
            got=f"{length(directory)} bytes",
            expected=f"at least {valid}",
            where=str(directory / HISTORY),
        )
    with refusing(directory / HISTORY), _opened(directory) as file:
        file.truncate(valid)
        os.fsync(file.fileno())


def forget(directory: Path, runs: Iterable[tuple[str, int]]) -> None:
    """Drops every line of some runs, and a last line that was cut off."""
    lines, gone = _content(directory).splitlines(keepends=True), set(runs)
    kept = [line for line in lines if line.endswith(b"\n") and run_of(line) not in gone]
    if len(kept) < len(lines):
        write_inside(directory, HISTORY, b"".join(kept))


def epochs_of(directory: Path, runs: Iterable[tuple[str, int]]) -> dict[tuple[str, int], list[EpochRecord]]:
    """The epochs of some runs, in the order in which they were trained."""
    found: dict[tuple[str, int], list[EpochRecord]] = {run: [] for run in runs}
    # As `append` writes them: only these lines are parsed, of a file that may have gigabytes.
    begins = tuple(f'{{"arm": {json.dumps(arm)}, "seed": {seed},'.encode() for arm, seed in found)
    for line in _content(directory).splitlines():
        record = epoch_record(line) if line.startswith(begins) else None
        if isinstance(record, EpochRecord):
            found[record.arm, record.seed].append(record)
    return found


def _opened(directory: Path) -> io.FileIO:
    """For appending; a copy of its own where the file has a second name, which must not change."""
    path = directory / HISTORY
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_FOLLOW, 0o644)
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        write_inside(directory, HISTORY, _content(directory))
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | NO_FOLLOW)
    file = io.FileIO(descriptor, "ab")
    file.seek(0, os.SEEK_END)
    return file


def _content(directory: Path) -> bytes:
    return read_file(directory / HISTORY, MOST_BYTES[".jsonl"]) or b""
