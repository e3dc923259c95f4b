"""The whole report of a study, from its records alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path

from regulab.cells import csv_table
from regulab.files import json_bytes
from regulab.records import MistakeRow, StudyRecords, mistake_rows
from regulab.reporting import weights
from regulab.reporting.data import ReportData
from regulab.reporting.figure import Drawing, DrawnPicture
from regulab.reporting.latex import latex_table
from regulab.reporting.pages import Pages, figures
from regulab.reporting.path import write_path_report
from regulab.reporting.rendering import render
from regulab.reporting.tables import rows, verdict_columns
from regulab.run_directory.names import MISTAKES_TABLE
from regulab.run_directory.places import write_inside
from regulab.run_directory.reading import WEIGHT_COUNTS
from regulab.statistics.strength_path import path_of

Write = Callable[[Path, bytes], None]


def write_report(records: StudyRecords, directory: Path, write: Write | None = None) -> list[Path]:
    """Writes figures, galleries, ``statistics.json``, ``table.tex``, ``report.html`` and ``README.md``; their paths.

    And ``mistakes.csv``, a row for every run and image that it got wrong, where images have files.

    A path has a page of its own, a figure and ``path.json`` (`regulab.reporting.path`), and nothing of the rest.

    Weights that ``weights.json`` lacks are counted into it. Needs neither torch nor the dataset. The same records give
    the same bytes on the same versions. ``write`` puts a file in place, by default so that it is whole or absent.
    """
    directory, written = Path(directory), []

    def put(name: str, content: bytes) -> None:
        if write is None:
            write_inside(directory, name, content)
        else:
            write(directory / name, content)
        written.append(directory / name)

    if (path := path_of(records)) is not None:
        write_path_report(records, path, put)
        return written
    counts = weights.count(records, directory)
    if counts:
        put(WEIGHT_COUNTS, json_bytes(weights.to_json(counts)))
    data = ReportData(records, counts)
    comparison = data.comparison
    pictures = {one.name: [_draw(drawing, put) for drawing in one.drawings(data)] for one in figures()}
    put("statistics.json", json_bytes(comparison.to_json()))
    put("table.tex", latex_table(rows(records, comparison), comparison, verdict_columns(comparison)))
    if records.mistakes is not None and records.mistakes.files is not None:
        columns = [field.name for field in fields(MistakeRow)]
        put(MISTAKES_TABLE, csv_table(columns, map(astuple, mistake_rows(records))))
    pages = Pages(data, pictures)
    put("report.html", pages.html())
    put("README.md", pages.markdown())
    return written


def _draw(drawing: Drawing, put: Callable[[str, bytes], None]) -> DrawnPicture:
    """Draws a picture once and puts its files in place."""
    figure, content = drawing.draw(), b""
    for kind in drawing.kinds:
        content = render(figure, kind)
        put(f"{drawing.path}.{kind}", content)
    return DrawnPicture(drawing=drawing, content=content)
