"""Tidy tables for spreadsheets and data frames: a row is one run, one epoch of a run, or one of its mistakes.

UTF-8 with a line of headings; numbers to the last digit, so that they are read back as the same. A text that a
spreadsheet would compute has an apostrophe before it (`regulab.cells`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, fields
from pathlib import Path

from regulab.cells import guarded
from regulab.exporters.exporter import Exporter
from regulab.records import RESULT_COLUMNS, EpochRecord, StudyRecords

EPOCH_COLUMNS = tuple(field.name for field in fields(EpochRecord))
# ``image`` counts from 0 in the test split; ``confidence`` is the softmax probability of the predicted class.
MISTAKE_COLUMNS = ("arm", "seed", "image", "actual", "predicted", "confidence")


def files(records: StudyRecords) -> Iterator[tuple[Path, bytes]]:
    yield Path("runs.csv"), _table(RESULT_COLUMNS, map(astuple, records.results))
    yield Path("epochs.csv"), _table(EPOCH_COLUMNS, map(astuple, records.history))
    yield Path("mistakes.csv"), _table(MISTAKE_COLUMNS, _mistakes(records))


def _mistakes(records: StudyRecords) -> Iterator[Sequence[object]]:
    """Every test image that a run got wrong: arms in the study's order, seeds and images ascending."""
    places, names = {arm: place for place, arm in enumerate(records.arms)}, records.class_names
    for arm, seed in sorted(records.predictions, key=lambda run: (places[run[0]], run[1])):
        run = records.predictions[arm, seed]
        for index in run.wrong.tolist():
            actual, predicted = names[run.labels[index]], names[run.predicted[index]]
            yield arm, seed, index, actual, predicted, float(run.confidence[index])


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(guarded(cell) if isinstance(cell, str) else cell for cell in row)
    return text.getvalue().encode()


CSV = Exporter(
    name="csv",
    summary="tables for spreadsheets and data frames: runs.csv, epochs.csv, mistakes.csv",
    files=files,
)
