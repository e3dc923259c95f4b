"""Tidy tables for spreadsheets and data frames: a row is one run, one epoch of a run, or one of its mistakes.

UTF-8 with a line of headings; numbers to the last digit, so that they are read back as the same. A text that a
spreadsheet would compute has an apostrophe before it (`regulab.cells`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields
from pathlib import Path

from regulab.cells import csv_table
from regulab.exporters.exporter import Exporter
from regulab.records import RESULT_COLUMNS, EpochRecord, StudyRecords, mistake_rows

EPOCH_COLUMNS = tuple(field.name for field in fields(EpochRecord))
# ``image`` counts from 0 in the test split; ``confidence`` is the softmax probability of the predicted class.
# ``file`` is empty where images have no files; ``seeds`` are those of the arm that took the image for ``predicted``.
MISTAKE_COLUMNS = ("arm", "seed", "image", "file", "actual", "predicted", "confidence")
BY_IMAGE_COLUMNS = ("file", "image", "actual", "predicted", "confidence", "arm", "seeds")


def files(records: StudyRecords) -> Iterator[tuple[Path, bytes]]:
    yield Path("runs.csv"), csv_table(RESULT_COLUMNS, map(astuple, records.results))
    yield Path("epochs.csv"), csv_table(EPOCH_COLUMNS, map(astuple, records.history))
    yield Path("mistakes.csv"), csv_table(MISTAKE_COLUMNS, map(astuple, mistake_rows(records)))
    yield Path("mistakes_by_image.csv"), csv_table(BY_IMAGE_COLUMNS, _by_image(records))


def _by_image(records: StudyRecords) -> Iterator[Sequence[object]]:
    """A row for each arm and image and class it was taken for: the mean confidence, and the seeds that said so."""
    found: dict[tuple[str, int, str, str, str], dict[int, float]] = {}
    for row in mistake_rows(records):
        key = (row.arm, row.index, row.file, row.actual, row.predicted)
        found.setdefault(key, {})[row.seed] = row.confidence
    for (arm, index, file, actual, predicted), runs in found.items():
        confidence = sum(runs.values()) / len(runs)
        yield file, index, actual, predicted, confidence, arm, " ".join(map(str, runs))


CSV = Exporter(
    name="csv",
    summary="tables for spreadsheets and data frames: runs.csv, epochs.csv, mistakes.csv, mistakes_by_image.csv",
    files=files,
)
