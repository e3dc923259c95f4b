"""Reads a run directory back, without its lock or torch, and takes nothing on trust.

The directory may be a stranger's, and a disk may have changed a digit. Sizes are bounded before anything is read, every
value has its type and range, and what one file says is checked against the others (`regulab.run_directory.checking`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from regulab.config import Study, build_study, parse_study
from regulab.errors import UserError
from regulab.records import Mistakes, Name, Number, Predictions, StudyRecords
from regulab.run_directory import checksums as sums
from regulab.run_directory.arrays import Array, parse_safetensors, read_npz
from regulab.run_directory.checking import checked
from regulab.run_directory.checksums import SELF, Checksums, read_checksums
from regulab.run_directory.names import (
    CHECKPOINTS,
    CHECKSUMS,
    EMPTYING,
    ENVIRONMENT,
    FLEETS,
    HISTORY,
    LOOKS,
    MARK,
    MISTAKES,
    ORDERS,
    PREDICTIONS,
    RESULTS,
    STUDY,
    WEIGHT_COUNTS,
    WEIGHTS,
    predictions_path,
    weights_path,
)
from regulab.run_directory.places import read_file, refuse_links, status_of
from regulab.run_directory.rows import read_history, read_looks, read_orders, readable_results, warn_of
from regulab.run_directory.text import (
    all_printable,
    read_json,
    read_json_as,
    read_text,
    refuse_controls,
    wrong_value,
)
from regulab.run_directory.versions import FORMAT_KEY, naming_the_writer, refuse_newer_format

__all__ = [
    "CHECKPOINTS",
    "ENVIRONMENT",
    "FLEETS",
    "HISTORY",
    "LOOKS",
    "MISTAKES",
    "ORDERS",
    "PREDICTIONS",
    "RESULTS",
    "STUDY",
    "WEIGHTS",
    "WEIGHT_COUNTS",
    "Array",
    "environment_checksum",
    "predictions_path",
    "read_environment",
    "read_json",
    "read_json_as",
    "read_npz",
    "read_predictions",
    "read_records",
    "read_study",
    "read_text",
    "read_weights",
    "study_text",
]

CHECKSUM_LINE = "# sha256 of what follows: "
MOST_WEIGHTS = 2**36
ENVIRONMENT_ADAPTER = TypeAdapter(dict[str, Any])
CHANGED = "not as regulab wrote it: its checksum differs"


class Resolved(BaseModel):
    """What regulab found out when it ran a study, beside hashes."""

    model_config = ConfigDict(extra="allow", strict=True)

    class_names: Annotated[list[Name], Field(min_length=1, max_length=100_000)]
    legends: dict[Name, Annotated[str, Field(max_length=2000)]]
    begun_with: list[Name] = []
    weight_names: dict[Name, list[Annotated[str, Field(max_length=1000)]]] = {}
    images_per_epoch: Number = 0
    model_files: dict[str, Name] = {}
    model_hash: Name = ""
    buffers_hash: Name = ""
    data_hash: Name = ""
    split_hash: Name = ""
    test_hash: Name = ""


class Environment(BaseModel):
    """The part of ``environment.json`` that a report relies on; there may be anything else beside it."""

    model_config = ConfigDict(extra="allow", strict=True)

    notes: Annotated[list[Annotated[str, Field(max_length=5000)]], Field(max_length=1000)] = []
    data_hash: Annotated[str, Field(max_length=200)] | None = None


def read_records(path: Path) -> StudyRecords:
    """Everything a study recorded so far; raises `UserError` that names a missing or damaged file.

    A last line of the history that was cut off is left out silently; any other damaged line, a row of the results, and
    whatever contradicts the rest, with a warning that names it.
    """
    path = Path(path)
    if status_of(path) is None or not path.is_dir():
        raise UserError("no such run directory", where=str(path))
    refuse_links(path)
    study = read_study(path)
    if study.resolved is None:
        raise UserError("nothing was recorded here yet; run the study first", where=str(path))
    with naming_the_writer(path):
        return _read_records(path, study)


def _read_records(path: Path, study: Study) -> StudyRecords:
    results = readable_results(path, study)
    found = {(r.arm, r.seed): read_predictions(path, r.arm, r.seed) for r in results}
    records = StudyRecords(
        study=study.model_dump(mode="json"),
        environment=read_environment(path),
        history=read_history(path, study),
        results=results,
        predictions={run: predictions for run, predictions in found.items() if predictions is not None},
        mistakes=read_npz(path / MISTAKES, Mistakes),
        looks=read_looks(path, study),
        orders=read_orders(path),
    )
    return checked(records, path, read_checksums(path))


def read_study(path: Path) -> Study:
    """The study of a run directory; a warning where the file is not as it was written."""
    where = path / STUDY
    if status_of(where) is None and status_of(path / EMPTYING) is not None:
        raise UserError("being emptied by --fresh, which was stopped; run its study again", where=str(path))
    refuse_newer_format(path)
    with naming_the_writer(path):
        return _read_study(where)


def _read_study(where: Path) -> Study:
    text = read_text(where)
    _check_study_text(text, where)
    try:
        study = build_study(*parse_study(text, str(where)))
    except (RecursionError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"not a study ({type(error).__name__})", where=str(where)) from error
    refuse_controls((study.name, *study.arms), str(where))
    return study if study.resolved is None else _with_resolved(study, where)


def read_predictions(path: Path, arm: str, seed: int) -> Predictions | None:
    """What a run predicted for the test split; None where it left nothing."""
    return read_npz(predictions_path(path, arm, seed), Predictions)


def study_text(study: Study) -> str:
    """What ``study.yaml`` holds: a sign that the directory is regulab's, a checksum, the study."""
    text = study.to_yaml()
    return f"{MARK}{CHECKSUM_LINE}{sums.of_bytes(text.encode())}\n{text}"


def _check_study_text(text: str, where: Path) -> None:
    first, _, rest = text.removeprefix(MARK).partition("\n")
    if text.startswith(MARK + CHECKSUM_LINE) and first != CHECKSUM_LINE + sums.of_bytes(rest.encode()):
        warn_of([f"{where}: {CHANGED}"])


def _with_resolved(study: Study, where: Path) -> Study:
    try:
        resolved = Resolved.model_validate(study.resolved)
    except ValidationError as error:
        raise wrong_value(error, f"{where}: resolved") from error
    refuse_controls(resolved.class_names, f"{where}: resolved.class_names")
    return study.model_copy(update={"resolved": all_printable(study.resolved)})


def read_environment(path: Path) -> dict[str, Any]:
    """``environment.json`` without its checksum; a warning where that differs."""
    where = path / ENVIRONMENT
    content = read_json_as(ENVIRONMENT_ADAPTER, where)
    if content is None:
        raise UserError("missing", expected="a file of a run directory", where=str(where))
    try:
        Environment.model_validate(content)
    except ValidationError as error:
        raise wrong_value(error, str(where)) from error
    recorded, summed = content.pop(SELF, None), status_of(path / CHECKSUMS) is not None
    if (recorded is not None or summed) and recorded != environment_checksum(content):
        warn_of([f"{where}: {CHANGED}"])
    content.pop(FORMAT_KEY, None)
    printable: dict[str, Any] = all_printable(content)
    return printable


def environment_checksum(content: dict[str, Any]) -> str:
    return sums.of_mapping(content, without=("commit",))


def read_weights(path: Path, arm: str, seed: int, checksums: Checksums) -> dict[str, Array] | None:
    """A run's weights; None where they were not kept. A warning where they are not those that were recorded."""
    where = weights_path(path, arm, seed)
    content = read_file(where, MOST_WEIGHTS)
    if content is None:
        return None
    known = checksums.get((arm, seed))
    if known is not None and known.weights != sums.of_bytes(content):
        warn_of([f"{where}: {CHANGED}"])
    return parse_safetensors(content, where, "damaged weights")
