"""Reading a run directory back: needs neither its lock nor torch."""

from __future__ import annotations

import csv
import io
import json
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from regulab.cells import unguarded
from regulab.config import Study, build_study, parse_study
from regulab.errors import UserError
from regulab.files import file_name
from regulab.records import RESULT_COLUMNS, EpochRecord, Look, Mistakes, Predictions, Result, StudyRecords

Array = np.ndarray[Any, Any]
Arrays = TypeVar("Arrays", Predictions, Mistakes)
STUDY, ENVIRONMENT, FLEETS = "study.yaml", "environment.json", "fleets.json"
HISTORY, RESULTS, MISTAKES = "history.jsonl", "results.csv", "mistakes.npz"
LOOKS, ORDERS, WEIGHT_COUNTS = "looks.json", "orders.json", "weights.json"
PREDICTIONS, WEIGHTS, CHECKPOINTS = "predictions", "weights", "checkpoints"
EPOCH_RECORD_ADAPTER = TypeAdapter(EpochRecord)
RESULT_ADAPTER = TypeAdapter(Result)
LOOKS_ADAPTER = TypeAdapter(tuple[Look, ...])
ORDERS_ADAPTER = TypeAdapter(dict[str, dict[int, tuple[str, ...]]])
Orders = dict[tuple[str, int], tuple[str, ...]]
Content = TypeVar("Content")


def read_records(path: Path) -> StudyRecords:
    """Everything a study recorded so far; raises `UserError` that names a missing or damaged file.

    A last line of the history that was cut off is left out silently, any other damaged line, or row of the results,
    with a warning that names it.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError("no such run directory", where=str(path))
    study = read_study(path)
    if study.resolved is None:
        raise UserError("nothing was recorded here yet; run the study first", where=str(path))
    results = readable_results(path)
    found = {(r.arm, r.seed): read_predictions(path, r.arm, r.seed) for r in results}
    return StudyRecords(
        study=study.model_dump(mode="json"),
        environment=read_json(path / ENVIRONMENT),
        history=read_history(path / HISTORY),
        results=results,
        predictions={run: predictions for run, predictions in found.items() if predictions is not None},
        mistakes=read_npz(path / MISTAKES, Mistakes) if (path / MISTAKES).exists() else None,
        looks=read_json_as(LOOKS_ADAPTER, path / LOOKS),
        orders=read_orders(path),
    )


def read_study(path: Path) -> Study:
    where = path / STUDY
    return build_study(*parse_study(read_text(where), str(where)))


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError("missing", expected="a file of a run directory", where=str(path)) from None
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror}", where=str(path)) from error


def read_text(path: Path) -> str:
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text: {error}", where=str(path)) from error


def read_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"not valid JSON: {error}", where=str(path)) from error


def read_json_as(kind: TypeAdapter[Content], path: Path) -> Content | None:
    """A JSON file of ours; None where there is none."""
    if not path.exists():
        return None
    try:
        return kind.validate_python(read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ": ".join((str(path), ".".join(str(part) for part in problem["loc"])))
        raise UserError(problem["msg"], got=problem["input"], where=place) from error


def read_orders(path: Path) -> Orders:
    content = read_json_as(ORDERS_ADAPTER, path / ORDERS) or {}
    return {(arm, seed): digests for arm, seeds in content.items() for seed, digests in seeds.items()}


def read_history(path: Path) -> tuple[EpochRecord, ...]:
    records: list[EpochRecord] = []
    lines = read_bytes(path).split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last line end was cut off
        try:
            records.append(EPOCH_RECORD_ADAPTER.validate_json(line))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"]
            warnings.warn(f"{path}, line {number} is damaged and left out: {problem}", stacklevel=3)
    return tuple(records)


def run_of(line: bytes) -> tuple[str, int] | None:
    """The (arm, seed) of a line of the history; None where it is damaged."""
    try:
        record = EPOCH_RECORD_ADAPTER.validate_json(line)
    except ValidationError:
        return None
    return record.arm, record.seed


def read_results(path: Path) -> tuple[Result, ...]:
    """All rows; raises `UserError` that names the first damaged one."""
    results = []
    for result in result_rows(path / RESULTS):
        if isinstance(result, UserError):
            raise result
        results.append(result)
    return tuple(results)


def readable_results(path: Path) -> tuple[Result, ...]:
    """The rows that are whole; a warning names any other."""
    results = []
    for result in result_rows(path / RESULTS):
        if isinstance(result, UserError):
            warnings.warn(f"a damaged row is left out: {result}", stacklevel=3)
        else:
            results.append(result)
    return tuple(results)


def result_rows(where: Path) -> Iterator[Result | UserError]:
    """Row by row the result, or what is wrong with it; raises `UserError` where columns are missing."""
    if not where.exists():
        return
    table = csv.DictReader(io.StringIO(read_text(where), newline=""))
    missing = [column for column in RESULT_COLUMNS if column not in (table.fieldnames or ())]
    if missing:
        raise UserError("missing columns", got=", ".join(missing), where=str(where))
    for number, row in enumerate(table, start=2):
        try:
            yield RESULT_ADAPTER.validate_python(
                {key: unguarded(value) if value else None for key, value in row.items()}
            )
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            column = ".".join(str(part) for part in problem["loc"])
            yield UserError(problem["msg"], got=problem["input"], where=f"{where}, row {number}: {column}")


def predictions_path(path: Path, arm: str, seed: int) -> Path:
    return path / PREDICTIONS / file_name(arm) / f"seed-{seed}.npz"


def read_predictions(path: Path, arm: str, seed: int) -> Predictions | None:
    where = predictions_path(path, arm, seed)
    return read_npz(where, Predictions) if where.exists() else None


def read_npz(path: Path, kind: type[Arrays]) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return kind(**{field.name: arrays[field.name] for field in fields(kind)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"damaged: {error}", expected="arrays as .npz", where=str(path)) from error
