"""The whole report of a study, from its records alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

from regulab.files import file_name, json_bytes
from regulab.records import StudyRecords
from regulab.reporting import curves, galleries, naming, page, weights
from regulab.reporting.figures import render
from regulab.reporting.latex import latex_table
from regulab.reporting.mistakes import select
from regulab.reporting.tables import rows
from regulab.run_directory.places import write_inside
from regulab.run_directory.reading import WEIGHT_COUNTS
from regulab.statistics import compare

Write = Callable[[Path, bytes], None]


def write_report(records: StudyRecords, directory: Path, write: Write | None = None) -> list[Path]:
    """Writes figures, galleries, ``statistics.json``, ``table.tex``, ``report.html`` and ``README.md``; their paths.

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

    counts = weights.count(records, directory)
    if counts:
        put(WEIGHT_COUNTS, json_bytes(weights.to_json(counts)))
    comparison = compare(records)
    pictures = []
    for measure in get_args(curves.Shown):
        figure = curves.draw(records, measure)
        raster, vector = render(figure, "png"), render(figure, "svg")
        put(f"figures/{measure}.png", raster)
        put(f"figures/{measure}.svg", vector)
        pictures.append(
            page.Picture(
                path=f"figures/{measure}.svg",
                raster=f"figures/{measure}.png",
                content=vector,
                alternative=curves.alternative(records, measure),
            )
        )
    shown, names = [], naming.class_names(records)
    for arm in records.arms:
        selection, path = select(records, arm), f"misclassified/{file_name(arm)}.png"
        image = render(galleries.draw(records, selection), "png")
        put(path, image)
        alternative = galleries.alternative(selection, names)
        picture = page.Picture(path=path, raster=path, content=image, alternative=alternative)
        shown.append(page.Gallery(heading=naming.heading(records, arm), picture=picture, selection=selection))
    put("statistics.json", json_bytes(comparison.to_json()))
    content = page.context(records, comparison, pictures, shown, weights.histograms(records, counts))
    put("table.tex", latex_table(rows(records, comparison), comparison, page.verdict_columns(comparison)))
    put("report.html", page.html(content))
    put("README.md", page.markdown(content))
    return written
