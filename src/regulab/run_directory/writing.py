"""The run directory: append, write atomically, lock, resume, read back.

One process writes a directory at a time. Every file is whole or absent, except ``history.jsonl``, whose
valid length the checkpoints know. Reading needs neither the lock nor torch.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import save as save_safetensors

from regulab.cells import guarded
from regulab.config import Study
from regulab.errors import UserError
from regulab.files import LOCK, NO_FOLLOW, TEMPORARY, Lock, file_name, json_bytes, npz_bytes, refusing
from regulab.records import COMPLETED, RESULT_COLUMNS, EpochRecord, Look, Mistakes, Predictions, Result
from regulab.run_directory.arrays import Array, has_whole_weights
from regulab.run_directory.checkpoints import checkpoint_bytes, dense, read_checkpoint
from regulab.run_directory.checksums import SELF, Checksums, checksums_json, read_checksums
from regulab.run_directory.names import (
    CHECKSUMS,
    EMPTYING,
    ENVIRONMENT,
    FLEETS,
    HISTORY,
    LOOKS,
    MARK,
    MISTAKES,
    ORDERS,
    RESULTS,
    STUDY,
    checkpoint_path,
    is_own,
    predictions_path,
    weights_path,
)
from regulab.run_directory.places import (
    begin_emptying,
    check_folder,
    empty,
    end_emptying,
    entries,
    own_places,
    read_file,
    refuse_links,
    remove_temporaries,
    status_of,
    write_inside,
)
from regulab.run_directory.reading import (
    environment_checksum,
    read_environment,
    read_predictions,
    read_records,
    read_study,
    study_text,
)
from regulab.run_directory.rows import (
    FLEETS_ADAPTER,
    LOOKS_ADAPTER,
    Orders,
    epoch_record,
    read_fleets,
    read_looks,
    read_orders,
    read_results,
    run_of,
)
from regulab.run_directory.text import MOST_BYTES

__all__ = ["RunDirectory", "file_name", "read_records"]


class RunDirectory:
    """A run directory opened for writing; a context manager that holds its lock.

    ``study`` is the study with the seeds of all commands so far: those recorded first, then new ones.
    """

    def __init__(self, path: Path, study: Study, lock: Lock) -> None:
        self.path, self.study, self._lock = path, study, lock

    @classmethod
    def open(cls, path: Path, study: Study, *, fresh: bool) -> RunDirectory:
        """Creates the directory, or goes on with one of the same study; ``fresh`` empties it first.

        Stopped at whatever point, it is what it was, or counts as empty and is emptied by the next to open it.
        Raises `UserError`, with everything left as it was, when the directory belongs to another study, is
        no run directory and not empty, cannot be written, or is being written by another process.
        """
        path = Path(path)
        with refusing(path):
            path.mkdir(parents=True, exist_ok=True)
            refuse_foreign(path)
            refuse_links(path)
            lock = Lock(path)
            try:
                remove_temporaries(path)
                if fresh:
                    begin_emptying(path)
                emptying = status_of(path / EMPTYING) is not None
                if emptying:
                    empty(path)
                directory = cls(path, _merge(path, study), lock)
                directory.write_study(directory.study)
                if emptying:
                    end_emptying(path)
            except BaseException:
                lock.release()
                raise
        return directory

    @classmethod
    def reopen(cls, path: Path) -> RunDirectory:
        """An existing directory, as it stands, for somebody who writes pages into it.

        Raises `UserError` where there is none, or another process is writing it.
        """
        path = Path(path)
        if status_of(path) is None or not path.is_dir():
            raise UserError("no such run directory", where=str(path))
        refuse_links(path)
        study = read_study(path)
        with refusing(path):
            refuse_foreign(path)
            directory = cls(path, study, Lock(path))
            try:
                remove_temporaries(path)
            except BaseException:
                directory.close()
                raise
        return directory

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._lock.release()

    def write(self, name: str, content: bytes) -> None:
        """A file at a path in the directory: whole or absent, and through no link."""
        write_inside(self.path, name, content)

    def write_study(self, study: Study) -> None:
        """``study.yaml``, unless these very bytes stand there already."""
        content = study_text(study).encode()
        if read_file(self.path / STUDY, MOST_BYTES[".yaml"]) != content:
            self.write(STUDY, content)
        self.study = study

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        content = dict(environment)
        self.write(ENVIRONMENT, json_bytes({**content, SELF: environment_checksum(content)}))

    def read_environment(self) -> dict[str, Any] | None:
        """What `write_environment` wrote; None before the first time."""
        return None if status_of(self.path / ENVIRONMENT) is None else read_environment(self.path)

    def write_fleets(self, fleets: Sequence[Mapping[str, Any]]) -> None:
        """``fleets.json``: how the runs were divided, so that a resumed study divides them alike."""
        self.write(FLEETS, json_bytes([dict(fleet) for fleet in fleets]))

    def read_fleets(self) -> list[dict[str, Any]]:
        """What `write_fleets` wrote; nothing before the first time."""
        return read_fleets(self.path, self.study)

    def write_looks(self, looks: Sequence[Look]) -> None:
        """``looks.json``, all looks; empty, it says that seeds are added until decided, and nobody has looked yet."""
        self.write(LOOKS, json_bytes([asdict(look) for look in looks]))

    def read_looks(self) -> tuple[Look, ...] | None:
        """What `write_looks` wrote; None where it never did."""
        return read_looks(self.path, self.study)

    def write_orders(self, orders: Mapping[tuple[str, int], Sequence[str]]) -> None:
        """``orders.json``: arm -> seed -> a digest of the order of the images for each epoch that the run trained."""
        content: dict[str, dict[int, list[str]]] = {}
        for (arm, seed), digests in sorted(orders.items()):
            content.setdefault(arm, {})[seed] = list(digests)
        self.write(ORDERS, json_bytes(content))

    def read_orders(self) -> Orders:
        """What `write_orders` wrote; nothing before the first time."""
        return read_orders(self.path)

    def append_history(self, records: Sequence[EpochRecord]) -> int:
        """Appends one line a record in a single write, on the disk on return; the file's length in bytes."""
        lines = b"".join(json.dumps(asdict(record), allow_nan=False).encode() + b"\n" for record in records)
        with refusing(self.path / HISTORY), self._open_history() as file:
            view = memoryview(lines)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
            return file.tell()

    def _open_history(self) -> io.FileIO:
        """For appending; a copy of its own where the file has a second name, which must not change."""
        path = self.path / HISTORY
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_FOLLOW, 0o644)
        if os.fstat(descriptor).st_nlink > 1:
            os.close(descriptor)
            self.write(HISTORY, self._history())
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | NO_FOLLOW)
        file = io.FileIO(descriptor, "ab")
        file.seek(0, os.SEEK_END)
        return file

    def _history(self) -> bytes:
        return read_file(self.path / HISTORY, MOST_BYTES[".jsonl"]) or b""

    def history_length(self) -> int:
        """Bytes in ``history.jsonl``; 0 where it is absent."""
        found = status_of(self.path / HISTORY)
        return 0 if found is None else found.st_size

    def truncate_history(self, length: int) -> None:
        """Drops what was appended after a checkpoint that knows ``length`` valid bytes."""
        if self.history_length() < length:
            raise UserError(
                "shorter than its checkpoint knows; give --fresh to start over",
                got=f"{self.history_length()} bytes",
                expected=f"at least {length}",
                where=str(self.path / HISTORY),
            )
        with refusing(self.path / HISTORY), self._open_history() as file:
            file.truncate(length)
            os.fsync(file.fileno())

    def forget_history(self, runs: Iterable[tuple[str, int]]) -> None:
        """Drops every line of these runs: their checkpoint is gone, and they start over."""
        lines, gone = self._history().splitlines(keepends=True), set(runs)
        kept = [line for line in lines if line.endswith(b"\n") and run_of(line) not in gone]
        if len(kept) < len(lines):
            self.write(HISTORY, b"".join(kept))

    def history_of(self, runs: Iterable[tuple[str, int]]) -> dict[tuple[str, int], list[EpochRecord]]:
        """The epochs of some runs, in the order in which they were trained."""
        found: dict[tuple[str, int], list[EpochRecord]] = {run: [] for run in runs}
        begins = tuple(f'{{"arm": {json.dumps(arm)}, "seed": {seed},'.encode() for arm, seed in found)
        for line in self._history().splitlines():
            record = (
                epoch_record(line) if line.startswith(begins) else None
            )  # as `append_history` writes them
            if isinstance(record, EpochRecord):
                found[record.arm, record.seed].append(record)
        return found

    def write_results(self, results: Iterable[Result]) -> None:
        """``results.csv``, all rows: arms in the study's order, within an arm seeds ascending.

        Floats are written by ``repr``, so that they read back exactly; None is an empty cell.
        """
        order = list(self.study.arms)
        rows = sorted(results, key=lambda result: (order.index(result.arm), result.seed))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(RESULT_COLUMNS)
        writer.writerows([_cell(getattr(row, column)) for column in RESULT_COLUMNS] for row in rows)
        self.write(RESULTS, text.getvalue().encode())

    def read_results(self) -> tuple[Result, ...]:
        return read_results(self.path, self.study)

    def write_predictions(self, arm: str, seed: int, predictions: Predictions) -> None:
        self._write(predictions_path(self.path, arm, seed), npz_bytes(vars(predictions)))

    def read_predictions(self, arm: str, seed: int) -> Predictions | None:
        """What `write_predictions` wrote; None where it never did."""
        return read_predictions(self.path, arm, seed)

    def missing_files(self, results: Iterable[Result]) -> dict[tuple[str, int], Path]:
        """Of completed runs whose predictions or weights are not there: the first that is missing.

        Raises `UserError` for one that is damaged.
        """
        missing: dict[tuple[str, int], Path] = {}
        for result in results:
            run = (result.arm, result.seed)
            if result.status == COMPLETED:
                if self.read_predictions(*run) is None:
                    missing[run] = predictions_path(self.path, *run)
                elif not has_whole_weights(weights_path(self.path, *run)):
                    missing[run] = weights_path(self.path, *run)
        return missing

    def write_mistakes(self, mistakes: Mistakes) -> None:
        self.write(MISTAKES, npz_bytes(vars(mistakes)))

    def write_weights(self, arm: str, seed: int, arrays: Mapping[str, Array]) -> bytes:
        """The file's content as well, for its checksum."""
        content = save_safetensors(dense(arrays))
        self._write(weights_path(self.path, arm, seed), content)
        return content

    def write_checksums(self, checksums: Checksums) -> None:
        """``checksums.json``: of these runs, and as before of all others."""
        known = {**read_checksums(self.path), **checksums}
        self.write(CHECKSUMS, json_bytes(checksums_json(known)))

    def save_checkpoint(self, fleet: int, arrays: Mapping[str, Array], state: Mapping[str, Any]) -> None:
        """One file with the arrays and, as JSON, ``state`` and the ``history_length`` they agree with."""
        content = {"history_length": self.history_length(), **state}
        self._write(checkpoint_path(self.path, fleet), checkpoint_bytes(arrays, content))

    def load_checkpoint(self, fleet: int) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Arrays and state of `save_checkpoint`; None where there is no checkpoint, `UserError` where it is damaged."""
        return read_checkpoint(checkpoint_path(self.path, fleet))

    def delete_checkpoint(self, fleet: int) -> None:
        path = checkpoint_path(self.path, fleet)
        check_folder(self.path, path)
        with refusing(path):
            path.unlink(missing_ok=True)
            if status_of(path.parent) is not None and not entries(path.parent):
                path.parent.rmdir()

    def checkpoint_file(self, fleet: int) -> Path:
        """Where a fleet's checkpoint stands, for messages."""
        return checkpoint_path(self.path, fleet)

    def _write(self, place: Path, content: bytes) -> None:
        self.write(place.relative_to(self.path).as_posix(), content)


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


def _merge(path: Path, study: Study) -> Study:
    """The recorded study with the seeds of both; raises `UserError` that lists what differs."""
    if status_of(path / STUDY) is None:
        return study
    recorded = read_study(path)
    if recorded.identity() != study.identity():
        here, asked = (_flat(s.identity_content()) for s in (recorded, study))
        keys = [key for key in {**here, **asked} if here.get(key, "absent") != asked.get(key, "absent")]
        differences = ", ".join(
            f"{key} ({here.get(key, 'absent')} here, {asked.get(key, 'absent')} asked for)" for key in keys
        )
        raise UserError(
            f"belongs to another study: {differences}; choose another --out, or --fresh to start over",
            where=str(path),
        )
    seeds = recorded.seeds + tuple(seed for seed in study.seeds if seed not in recorded.seeds)
    return recorded.model_copy(update={"seeds": seeds, "resolved": recorded.resolved or study.resolved})


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {}
        flat.update(inner or {f"{prefix}{key}": value})
    return flat


def _cell(value: object) -> str:
    if isinstance(value, str):
        return guarded(value)
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
