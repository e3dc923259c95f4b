"""Records as data frames, in pandas or polars: whichever is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from regulab.errors import UserError
from regulab.records import EpochRecord, MistakeRow, Result, StudyRecords, mistake_rows

Kind = Literal["runs", "epochs", "mistakes"]
LIBRARIES = ("pandas", "polars")
WHOLE = {"seed", "epoch", "epochs", "best_epoch", "fleet", "fleet_size", "parameters", "index"}
TEXTS = {"arm", "status", "initial_weights_hash", "data_order_hash", "actual", "predicted", "file"}
OPTIONAL_WHOLE = "best_epoch"  # a diverged run has none

Columns = dict[str, list[Any]]


def frame(records: StudyRecords, kind: str) -> Any:
    """A frame in the library that `library` finds, with that library's missing values."""
    columns = KINDS[kind](records)
    name = library()
    narwhals: Any = import_module("narwhals")  # makes the frame of either library

    def type_of(column: str) -> Any:
        if column in TEXTS:
            return narwhals.String
        # A whole number that is missing is beyond pandas' own integers.
        missing = column == OPTIONAL_WHOLE and name == "pandas"
        return narwhals.Int64 if column in WHOLE and not missing else narwhals.Float64

    schema = {column: type_of(column) for column in columns}
    return narwhals.from_dict(columns, schema=schema, backend=name).to_native()


def library() -> str:
    """The library that this program has imported already, else pandas, else polars; raises `UserError` without
    either."""
    imported = [name for name in LIBRARIES if name in sys.modules]
    found = imported or [name for name in LIBRARIES if find_spec(name) is not None]
    if not found:
        raise UserError(
            "no library of data frames is installed",
            expected="pandas or polars",
            cure="run `pip install pandas`, or `pip install polars`",
        )
    return found[0]


def _rows_of(kind: type, found: tuple[Any, ...]) -> Columns:
    return {field.name: [getattr(one, field.name) for one in found] for field in fields(kind)}


def _runs(records: StudyRecords) -> Columns:
    return _rows_of(Result, records.results)


def _epochs(records: StudyRecords) -> Columns:
    return _rows_of(EpochRecord, records.history)


def _mistakes(records: StudyRecords) -> Columns:
    """A row for each run and test image that it got wrong; arms in the study's order, seeds and images ascending."""
    return _rows_of(MistakeRow, tuple(mistake_rows(records)))


KINDS: Mapping[str, Callable[[StudyRecords], Columns]] = {
    "runs": _runs,
    "epochs": _epochs,
    "mistakes": _mistakes,
}
