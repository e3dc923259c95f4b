"""The run directory: append, write atomically, lock, resume, read back.

One process writes a directory at a time. Every file is whole or absent, except ``history.jsonl``, whose
valid length the checkpoints know. Reading needs neither the lock nor torch.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_safetensors

from regulab.config import Study, build_study, parse_yaml
from regulab.errors import UserError
from regulab.files import LOCK, TEMPORARY, Lock, file_name, json_bytes, npz_bytes, refusing, write_whole
from regulab.records import RESULT_COLUMNS, EpochRecord, Look, Mistakes, Predictions, Result, StudyRecords

__all__ = ["RunDirectory", "file_name", "read_records", "write_whole"]

Array = np.ndarray[Any, Any]
Arrays = TypeVar("Arrays", Predictions, Mistakes)

STUDY, ENVIRONMENT, FLEETS = "study.yaml", "environment.json", "fleets.json"
HISTORY, RESULTS, MISTAKES = "history.jsonl", "results.csv", "mistakes.npz"
LOOKS, ORDERS = "looks.json", "orders.json"
PREDICTIONS, WEIGHTS, CHECKPOINTS = "predictions", "weights", "checkpoints"
PAGES = ("statistics.json", "table.tex", "figures", "misclassified", "report.html", "README.md")
EVERYTHING = (
    *(
        STUDY,
        ENVIRONMENT,
        FLEETS,
        HISTORY,
        RESULTS,
        ORDERS,
        LOOKS,
        MISTAKES,
        PREDICTIONS,
        WEIGHTS,
        CHECKPOINTS,
    ),
    *PAGES,
)
MARK = "# A run directory of regulab: this study, as resolved.\n"

_EPOCH_RECORD = TypeAdapter(EpochRecord)
_RESULT = TypeAdapter(Result)
_LOOKS = TypeAdapter(tuple[Look, ...])
_ORDERS = TypeAdapter(dict[str, dict[int, tuple[str, ...]]])
Orders = dict[tuple[str, int], tuple[str, ...]]
Content = TypeVar("Content")


class RunDirectory:
    """A run directory opened for writing; a context manager that holds its lock.

    ``study`` is the study with the seeds of all commands so far: those recorded first, then new ones.
    """

    def __init__(self, path: Path, study: Study, lock: Lock) -> None:
        self.path, self.study, self._lock = path, study, lock

    @classmethod
    def open(cls, path: Path, study: Study, *, fresh: bool) -> RunDirectory:
        """Creates the directory, or goes on with one of the same study; ``fresh`` empties it first.

        Raises `UserError`, with everything left as it was, when the directory belongs to another study, is
        no run directory and not empty, cannot be written, or is being written by another process.
        """
        path = Path(path)
        with refusing(path):
            path.mkdir(parents=True, exist_ok=True)
            _refuse_foreign(path)
            lock = Lock(path)
            try:
                if fresh:
                    _empty(path)
                _remove_temporaries(path)
                merged = _merge(path, study)
                directory = cls(path, merged, lock)
                directory.write_study(merged)
            except BaseException:
                lock.release()
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

    def write_study(self, study: Study) -> None:
        """``study.yaml``, unless these very bytes stand there already."""
        content, target = (MARK + study.to_yaml()).encode(), self.path / STUDY
        if not target.exists() or target.read_bytes() != content:
            write_whole(target, content)
        self.study = study

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        write_whole(self.path / ENVIRONMENT, json_bytes(dict(environment)))

    def write_fleets(self, fleets: Sequence[Mapping[str, Any]]) -> None:
        """``fleets.json``: how the runs were divided, so that a resumed study divides them alike."""
        write_whole(self.path / FLEETS, json_bytes([dict(fleet) for fleet in fleets]))

    def read_fleets(self) -> list[dict[str, Any]]:
        """What `write_fleets` wrote; nothing before the first time."""
        path = self.path / FLEETS
        return _read_json(path) if path.exists() else []

    def write_looks(self, looks: Sequence[Look]) -> None:
        """``looks.json``, all looks; once it is there, even empty, the study is judged by the sequential rule."""
        write_whole(self.path / LOOKS, json_bytes([asdict(look) for look in looks]))

    def read_looks(self) -> tuple[Look, ...] | None:
        """What `write_looks` wrote; None where it never did."""
        return _read_json_as(_LOOKS, self.path / LOOKS)

    def write_orders(self, orders: Mapping[tuple[str, int], Sequence[str]]) -> None:
        """``orders.json``: arm -> seed -> a digest of the order of the images for each epoch that the run trained."""
        content: dict[str, dict[int, list[str]]] = {}
        for (arm, seed), digests in sorted(orders.items()):
            content.setdefault(arm, {})[seed] = list(digests)
        write_whole(self.path / ORDERS, json_bytes(content))

    def read_orders(self) -> Orders:
        """What `write_orders` wrote; nothing before the first time."""
        return _read_orders(self.path)

    def append_history(self, records: Sequence[EpochRecord]) -> int:
        """Appends one line a record in a single write, on the disk on return; the file's length in bytes."""
        lines = b"".join(json.dumps(asdict(record), allow_nan=False).encode() + b"\n" for record in records)
        with refusing(self.path / HISTORY), (self.path / HISTORY).open("ab", buffering=0) as file:
            view = memoryview(lines)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
            return file.tell()

    def history_length(self) -> int:
        """Bytes in ``history.jsonl``; 0 where it is absent."""
        path = self.path / HISTORY
        return path.stat().st_size if path.exists() else 0

    def truncate_history(self, length: int) -> None:
        """Drops what was appended after a checkpoint that knows ``length`` valid bytes."""
        if self.history_length() < length:
            raise UserError(
                "shorter than its checkpoint knows; give --fresh to start over",
                got=f"{self.history_length()} bytes",
                expected=f"at least {length}",
                where=str(self.path / HISTORY),
            )
        with (self.path / HISTORY).open("ab") as file:
            file.truncate(length)
            os.fsync(file.fileno())

    def forget_history(self, runs: Iterable[tuple[str, int]]) -> None:
        """Drops every line of these runs: their checkpoint is gone, and they start over."""
        path, gone = self.path / HISTORY, set(runs)
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if line.endswith(b"\n") and _run_of(line) not in gone]
            if len(kept) < len(lines):
                write_whole(path, b"".join(kept))

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
        write_whole(self.path / RESULTS, text.getvalue().encode())

    def read_results(self) -> tuple[Result, ...]:
        return _read_results(self.path)

    def write_predictions(self, arm: str, seed: int, predictions: Predictions) -> None:
        write_whole(_predictions_path(self.path, arm, seed), npz_bytes(vars(predictions)))

    def read_predictions(self, arm: str, seed: int) -> Predictions | None:
        """What `write_predictions` wrote; None where it never did."""
        return _read_predictions(self.path, arm, seed)

    def write_mistakes(self, mistakes: Mistakes) -> None:
        write_whole(self.path / MISTAKES, npz_bytes(vars(mistakes)))

    def write_weights(self, arm: str, seed: int, arrays: Mapping[str, Array]) -> None:
        path = self.path / WEIGHTS / file_name(arm) / f"seed-{seed}.safetensors"
        write_whole(path, save_safetensors(_dense(arrays)))

    def save_checkpoint(self, fleet: int, arrays: Mapping[str, Array], state: Mapping[str, Any]) -> None:
        """One file with the arrays and, as JSON, ``state`` and the ``history_length`` they agree with."""
        content = json.dumps({"history_length": self.history_length(), **state})
        write_whole(self._checkpoint(fleet), save_safetensors(_dense(arrays), {"state": content}))

    def load_checkpoint(self, fleet: int) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Arrays and state of `save_checkpoint`; None where there is no checkpoint."""
        path = self._checkpoint(fleet)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
                return arrays, json.loads(file.metadata()["state"])
        except SafetensorError as error:
            raise UserError(f"damaged checkpoint ({error})", where=str(path)) from error

    def delete_checkpoint(self, fleet: int) -> None:
        self._checkpoint(fleet).unlink(missing_ok=True)
        if self._checkpoint(fleet).parent.is_dir() and not any(self._checkpoint(fleet).parent.iterdir()):
            self._checkpoint(fleet).parent.rmdir()

    def _checkpoint(self, fleet: int) -> Path:
        return self.path / CHECKPOINTS / f"fleet-{fleet}.safetensors"


def read_records(path: Path) -> StudyRecords:
    """Everything a study recorded so far; raises `UserError` that names a missing or damaged file.

    A last line of the history that was cut off is left out silently, any other damaged line, or row of the results,
    with a warning that names it.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError("no such run directory", where=str(path))
    study = _read_study(path)
    if study.resolved is None:
        raise UserError("nothing was recorded here yet; run the study first", where=str(path))
    results = _readable_results(path)
    found = {(r.arm, r.seed): _read_predictions(path, r.arm, r.seed) for r in results}
    return StudyRecords(
        study=study.model_dump(mode="json"),
        environment=_read_json(path / ENVIRONMENT),
        history=_read_history(path / HISTORY),
        results=results,
        predictions={run: predictions for run, predictions in found.items() if predictions is not None},
        mistakes=_read_npz(path / MISTAKES, Mistakes) if (path / MISTAKES).exists() else None,
        looks=_read_json_as(_LOOKS, path / LOOKS),
        orders=_read_orders(path),
    )


def _dense(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Row-major arrays: safetensors 0.8 writes the memory of any other (channels-last weights) as it lies."""
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}


def _refuse_foreign(path: Path) -> None:
    names = {entry.name for entry in path.iterdir()}
    if _is_run_directory(path, names):
        return
    if any(name != LOCK and not name.startswith(TEMPORARY) for name in names):
        raise UserError(
            "not empty and not a run directory", expected="an empty, new or run directory", where=str(path)
        )


def _is_run_directory(path: Path, names: set[str]) -> bool:
    """A person's own ``study.yaml`` does not make a run directory: ``fresh`` would delete their files."""
    if STUDY not in names:
        return False
    marked = (path / STUDY).read_bytes().startswith(MARK.encode())
    return marked or not names.isdisjoint({ENVIRONMENT, FLEETS, HISTORY})


def _empty(path: Path) -> None:
    """Removes what regulab wrote, ``study.yaml`` last: until then it still is a run directory."""
    for name in reversed(EVERYTHING):
        entry = path / name
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def _remove_temporaries(path: Path) -> None:
    folders = [path, *(path / name for name in EVERYTHING if (path / name).is_dir())]
    for leftover in {found for folder in folders for found in folder.rglob(f"{TEMPORARY}*")}:
        leftover.unlink(missing_ok=True)


def _merge(path: Path, study: Study) -> Study:
    """The recorded study with the seeds of both; raises `UserError` that lists what differs."""
    if not (path / STUDY).exists():
        return study
    recorded = _read_study(path)
    if recorded.identity() != study.identity():
        here, asked = (
            _flat(s.model_dump(mode="json", exclude={"seeds", "resolved"})) for s in (recorded, study)
        )
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


def _read_study(path: Path) -> Study:
    where = path / STUDY
    return build_study(parse_yaml(_read_text(where), str(where)), str(where))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError("missing", expected="a file of a run directory", where=str(path)) from None
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror}", where=str(path)) from error


def _read_text(path: Path) -> str:
    try:
        return _read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text: {error}", where=str(path)) from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except ValueError as error:
        raise UserError(f"not valid JSON: {error}", where=str(path)) from error


def _read_json_as(kind: TypeAdapter[Content], path: Path) -> Content | None:
    """A JSON file of ours; None where there is none."""
    if not path.exists():
        return None
    try:
        return kind.validate_python(_read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ": ".join((str(path), ".".join(str(part) for part in problem["loc"])))
        raise UserError(problem["msg"], got=problem["input"], where=place) from error


def _read_orders(path: Path) -> Orders:
    content = _read_json_as(_ORDERS, path / ORDERS) or {}
    return {(arm, seed): digests for arm, seeds in content.items() for seed, digests in seeds.items()}


def _read_history(path: Path) -> tuple[EpochRecord, ...]:
    records: list[EpochRecord] = []
    lines = _read_bytes(path).split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last line end was cut off
        try:
            records.append(_EPOCH_RECORD.validate_json(line))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"]
            warnings.warn(f"{path}, line {number} is damaged and left out: {problem}", stacklevel=3)
    return tuple(records)


def _run_of(line: bytes) -> tuple[str, int] | None:
    """The (arm, seed) of a line of the history; None where it is damaged."""
    try:
        record = _EPOCH_RECORD.validate_json(line)
    except ValidationError:
        return None
    return record.arm, record.seed


def _cell(value: object) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _read_results(path: Path) -> tuple[Result, ...]:
    """All rows; raises `UserError` that names the first damaged one."""
    results = []
    for result in _result_rows(path / RESULTS):
        if isinstance(result, UserError):
            raise result
        results.append(result)
    return tuple(results)


def _readable_results(path: Path) -> tuple[Result, ...]:
    """The rows that are whole; a warning names any other."""
    results = []
    for result in _result_rows(path / RESULTS):
        if isinstance(result, UserError):
            warnings.warn(f"a damaged row is left out: {result}", stacklevel=3)
        else:
            results.append(result)
    return tuple(results)


def _result_rows(where: Path) -> Iterator[Result | UserError]:
    """Row by row the result, or what is wrong with it; raises `UserError` where columns are missing."""
    if not where.exists():
        return
    table = csv.DictReader(io.StringIO(_read_text(where), newline=""))
    missing = [column for column in RESULT_COLUMNS if column not in (table.fieldnames or ())]
    if missing:
        raise UserError("missing columns", got=", ".join(missing), where=str(where))
    for number, row in enumerate(table, start=2):
        try:
            yield _RESULT.validate_python({key: value if value else None for key, value in row.items()})
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            column = ".".join(str(part) for part in problem["loc"])
            yield UserError(problem["msg"], got=problem["input"], where=f"{where}, row {number}: {column}")


def _predictions_path(path: Path, arm: str, seed: int) -> Path:
    return path / PREDICTIONS / file_name(arm) / f"seed-{seed}.npz"


def _read_predictions(path: Path, arm: str, seed: int) -> Predictions | None:
    where = _predictions_path(path, arm, seed)
    return _read_npz(where, Predictions) if where.exists() else None


def _read_npz(path: Path, kind: type[Arrays]) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return kind(**{field.name: arrays[field.name] for field in fields(kind)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"damaged: {error}", expected="arrays as .npz", where=str(path)) from error
