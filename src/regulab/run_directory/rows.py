"""Histories, results, orders, looks and fleets, entry by entry: each one is possible for the study, or is reported.

An entry that is damaged, duplicated, or of an arm or seed that the study does not have is left out with a warning when
a report is made from the rest. Going on with the study raises a `UserError` instead, since those runs would be trained
again.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from regulab.cells import guarded, unguarded
from regulab.config import Study
from regulab.errors import UserError
from regulab.records import COMPLETED, RESULT_COLUMNS, EpochRecord, Look, Name, Number, Result
from regulab.run_directory.names import FLEETS, HISTORY, LOOKS, ORDERS, RESULTS
from regulab.run_directory.text import (
    cut,
    decoded,
    read_bytes,
    read_json_as,
    read_optional_bytes,
    wrong_value,
)

EPOCH_RECORD_ADAPTER = TypeAdapter(EpochRecord)
RESULT_ADAPTER = TypeAdapter(Result)
LOOKS_ADAPTER = TypeAdapter(tuple[Look, ...])
ORDERS_ADAPTER = TypeAdapter(dict[Name, dict[Number, tuple[Name, ...]]])
Orders = dict[tuple[str, int], tuple[str, ...]]
MEASURES = ("test_loss", "test_accuracy", "train_loss", "train_accuracy",
            "weight_norm_l1", "weight_norm_l2", "zero_fraction", "near_zero_fraction")  # fmt: skip
MOST_WARNINGS, MOST_LINE = 10, 2**16
LEFT_OUT = "is damaged and left out"


class FleetEntry(BaseModel):
    """An entry of ``fleets.json``; the rest of it is checked where fleets are made from it."""

    model_config = ConfigDict(extra="allow", strict=True)

    index: Annotated[int, Field(ge=0, lt=2**31)]
    runs: list[tuple[Name, Number]]
    engine: Annotated[str, Field(max_length=20)]


FLEETS_ADAPTER = TypeAdapter(list[dict[str, Any]])


@dataclass(frozen=True)
class Asked:
    """Which runs a study has."""

    arms: frozenset[str]
    seeds: frozenset[int]
    epochs: int

    @classmethod
    def of(cls, study: Study) -> Asked:
        return cls(frozenset(study.arms), frozenset(study.seeds), study.train.epochs)

    def why_unknown(self, arm: str, seed: int) -> str | None:
        """What is wrong with a run that the study does not have; None where it has it."""
        if arm not in self.arms:
            return f"no arm {cut(arm)!r} in the study"
        return None if seed in self.seeds else f"no seed {seed} in the study"


def warn_of(problems: Sequence[str]) -> None:
    """One warning for each problem, the first ten of them."""
    for problem in problems[:MOST_WARNINGS]:
        warnings.warn(problem, stacklevel=4)
    if len(problems) > MOST_WARNINGS:
        warnings.warn(f"and {len(problems) - MOST_WARNINGS} more of the kind", stacklevel=4)


def read_history(path: Path, study: Study) -> tuple[EpochRecord, ...]:
    """The lines that are whole; a warning names any other but a last one that was cut off."""
    where, asked = path / HISTORY, Asked.of(study)
    records: dict[tuple[str, int, int], EpochRecord] = {}
    problems: list[str] = []
    for number, line in enumerate(read_bytes(where).split(b"\n")[:-1], start=1):
        record = epoch_record(line)
        if isinstance(record, EpochRecord):
            key = (record.arm, record.seed, record.epoch)
            problem = asked.why_unknown(record.arm, record.seed)
            if record.epoch > asked.epochs:
                problem = f"epoch {record.epoch} of {asked.epochs}"
            elif key in records:
                problem = f"epoch {record.epoch} of {cut(record.arm)} seed {record.seed} once more"
            if problem is None:
                records[key] = record
                continue
            record = problem
        problems.append(f"{where}, line {number} {LEFT_OUT}: {record}")
    warn_of(problems)
    return tuple(records.values())


def epoch_record(line: bytes) -> EpochRecord | str:
    """A line of the history, or what is wrong with it."""
    if len(line) > MOST_LINE:
        return f"{len(line)} bytes"
    try:
        return EPOCH_RECORD_ADAPTER.validate_json(line)
    except ValidationError as error:
        return str(wrong_value(error, ""))


def run_of(line: bytes) -> tuple[str, int] | None:
    """The (arm, seed) of a line of the history; None where it is damaged."""
    record = epoch_record(line)
    return (record.arm, record.seed) if isinstance(record, EpochRecord) else None


def read_results(path: Path, study: Study) -> tuple[Result, ...]:
    """All rows; raises `UserError` that names the first wrong one."""
    results = []
    for result in result_rows(path / RESULTS, study):
        if isinstance(result, UserError):
            raise result
        results.append(result)
    return tuple(results)


def readable_results(path: Path, study: Study) -> tuple[Result, ...]:
    """The rows that are whole; a warning names any other."""
    rows = list(result_rows(path / RESULTS, study))
    warn_of([f"a damaged row is left out: {row}" for row in rows if isinstance(row, UserError)])
    return tuple(row for row in rows if isinstance(row, Result))


def result_rows(where: Path, study: Study) -> Iterator[Result | UserError]:
    """Row by row the result, or what is wrong with it; raises `UserError` where columns are missing."""
    content = read_optional_bytes(where)
    if content is None:
        return
    table = csv.DictReader(io.StringIO(decoded(content, where), newline=""), restkey="")
    asked, seen = Asked.of(study), set()
    try:
        missing = [column for column in RESULT_COLUMNS if column not in (table.fieldnames or ())]
        if missing:
            raise UserError("missing columns", got=", ".join(missing), where=str(where))
        for number, row in enumerate(table, start=2):
            result = _result(row, f"{where}, row {number}", asked)
            if isinstance(result, Result):
                run = (result.arm, result.seed)
                if run in seen:
                    result = UserError(
                        "a second row of a run", got=f"{run[0]} seed {run[1]}", where=f"{where}, row {number}"
                    )
                seen.add(run)
            yield result
    except csv.Error as error:
        raise UserError(f"not a table: {error}", where=str(where)) from error


def _result(row: dict[str, Any], where: str, asked: Asked) -> Result | UserError:
    cells = {column: unguarded(row[column]) if row[column] else None for column in RESULT_COLUMNS}
    if "" in row:
        return UserError("more cells than columns", where=where)
    try:
        result = RESULT_ADAPTER.validate_python(cells)
    except ValidationError as error:
        return wrong_value(error, where)
    problem = asked.why_unknown(result.arm, result.seed)
    there = [name for name in MEASURES if getattr(result, name) is not None]
    if result.epochs > asked.epochs:
        problem = f"{result.epochs} epochs of {asked.epochs}"
    elif (result.best_epoch or 0) > result.epochs:
        problem = f"best epoch {result.best_epoch} of {result.epochs}"
    elif result.status == COMPLETED and len(there) < len(MEASURES):
        lacking = ", ".join(name for name in MEASURES if name not in there)
        problem = f"completed, and without {lacking}"
    elif result.status != COMPLETED and result.test_accuracy is not None:
        problem = f"{result.status}, and tested"
    return result if problem is None else UserError(problem, where=where)


def results_text(results: Iterable[Result], study: Study) -> str:
    """``results.csv``: arms in the study's order, within an arm seeds ascending.

    Floats are written by ``repr``, so that they read back exactly; None is an empty cell.
    """
    order = list(study.arms)
    rows = sorted(results, key=lambda result: (order.index(result.arm), result.seed))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RESULT_COLUMNS)
    writer.writerows([_cell(getattr(row, column)) for column in RESULT_COLUMNS] for row in rows)
    return text.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, str):
        return guarded(value)
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def read_orders(path: Path) -> Orders:
    content = read_json_as(ORDERS_ADAPTER, path / ORDERS) or {}
    return {(arm, seed): digests for arm, seeds in content.items() for seed, digests in seeds.items()}


def read_looks(path: Path, study: Study) -> tuple[Look, ...] | None:
    """The looks; None where the study was never looked at. Raises `UserError` for one that cannot have been."""
    looks, before = read_json_as(LOOKS_ADAPTER, path / LOOKS), set[int]()
    for number, look in enumerate(looks or ()):
        seeds = set(look.seeds)
        if not seeds or len(seeds) < len(look.seeds) or not before <= seeds <= set(study.seeds):
            raise UserError(
                "a look at seeds that the study had not",
                got=cut(str(list(look.seeds))),
                expected=f"seeds of {cut(str(list(study.seeds)))}, those of the look before among them",
                where=f"{path / LOOKS}: {number}.seeds",
            )
        before = seeds
    return looks


def read_fleets(path: Path, study: Study) -> list[dict[str, Any]]:
    """Which runs trained together; nothing before the first time. Raises `UserError` for what no study writes."""
    fleets = read_json_as(FLEETS_ADAPTER, path / FLEETS) or []
    asked, held = Asked.of(study), set[tuple[str, int]]()
    for number, content in enumerate(fleets):
        where = f"{path / FLEETS}: {number}"
        try:
            entry = FleetEntry.model_validate(_with_tuples(content))
        except ValidationError as error:
            raise wrong_value(error, where) from error
        if entry.index != number:
            place = f"{where}.index"
            raise UserError("not its place in the list", got=entry.index, expected=str(number), where=place)
        problem = _wrong_runs(entry.runs, asked, held)
        if problem:
            raise UserError(problem, expected="each run of the study once", where=f"{where}.runs")
    return fleets


def _with_tuples(content: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists alone, and a strict reader takes none for a pair."""
    runs = content.get("runs")
    if not isinstance(runs, list):
        return content
    return {**content, "runs": [tuple(run) if isinstance(run, list) else run for run in runs]}


def _wrong_runs(runs: Iterable[tuple[str, int]], asked: Asked, held: set[tuple[str, int]]) -> str | None:
    for arm, seed in runs:
        problem = asked.why_unknown(arm, seed)
        if problem or (arm, seed) in held:
            return problem or f"{cut(arm)} seed {seed} once more"
        held.add((arm, seed))
    return None
