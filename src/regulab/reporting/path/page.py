"""The page of a path, in one HTML file and for GitHub, from its records alone."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from regulab.config.paths import shown_name
from regulab.files import json_bytes
from regulab.records import StudyRecords
from regulab.reporting.path import figure as picture
from regulab.reporting.path.words import described, heading, path_words
from regulab.reporting.rendering import render
from regulab.reporting.tables import NOTHING, Line, interval, metric_name, number
from regulab.reporting.templating import environment, source
from regulab.run_directory.names import PATH_RESULTS
from regulab.statistics.path_results import PathPoint, PathResults, path_results
from regulab.statistics.strength_path import StrengthPath
from regulab.wording import one_line, quoted

FIGURE = "figures/regulab-path"
Put = Callable[[str, bytes], None]


def write_path_report(records: StudyRecords, path: StrengthPath, put: Put) -> None:
    """The figure, ``path.json``, ``report.html`` and ``README.md``, each by ``put`` (its name, its content)."""
    results = path_results(records, path)
    put(PATH_RESULTS, json_bytes(results.to_json()))
    svg = b""
    if picture.is_drawable(results):
        drawn = picture.draw(records, results)
        put(f"{FIGURE}.png", render(drawn, "png"))
        svg = render(drawn, "svg")
        put(f"{FIGURE}.svg", svg)
    shown = _content(records, results, svg)
    page = environment().get_template("path.html").render(shown, style=source("style.css"))
    put("report.html", page.encode())
    text = environment().get_template("path.md").render(shown)
    put("README.md", text.replace("&#39;", "'").encode())


def _content(records: StudyRecords, results: PathResults, svg: bytes) -> dict[str, Any]:
    words = path_words(records, results)
    inline = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    return {
        "study": records.study,
        "title": heading(results),
        "summary": _summary(records, results),
        "words": words,
        "columns": columns(results),
        "lines": lines(results),
        "alternative": described(results),
        "inline": Markup(inline) if svg else "",
        "raster": f"{FIGURE}.png" if svg else "",
        "notes": [one_line(note, 600) for note in records.environment.get("notes", ())],
        "legend": records.legends.get(results.baseline.arm, results.baseline.arm),
    }


def _summary(records: StudyRecords, results: PathResults) -> str:
    study = records.study
    ends = [one.strength for one in results.points if one.strength is not None]
    return " · ".join(
        (
            f"data {quoted(shown_name(study['data']['name']))}",
            f"model {quoted(shown_name(study['model']['name']))}",
            f"{results.path.parameter} {min(ends):g} to {max(ends):g}",
            f"{len(study['arms'])} arms × {len(study['seeds'])} seeds × {study['train']['epochs']} epochs",
            f"{len(records.results)} of {len(study['arms']) * len(study['seeds'])} runs finished",
            f"protocol {study['protocol']['kind']}",
        )
    )


def columns(results: PathResults) -> list[str]:
    """The headings of the table of strengths."""
    return [
        results.path.parameter,
        "validation accuracy (%)",
        "validation loss",
        f"{metric_name(results.metric)}{' (%)' if results.metric.endswith('accuracy') else ''}",
        "difference",
        "95 % t interval",
        "gap",
        "exact zeros (%)",
        "‖w‖₂",
        "chosen by other seeds (%)",
    ]


def lines(results: PathResults) -> list[Line]:
    """A row for the baseline and for each strength, the weakest first."""
    return [_line(results, one) for one in (results.baseline, *results.points)]


def _line(results: PathResults, point: PathPoint) -> Line:
    places = 2 if results.metric.endswith("accuracy") else 4

    def mean(name: str, digits: int, scale: float = 1.0) -> str:
        one = point.measures.get(name)
        return number(None if one is None else scale * one.mean, digits)

    difference = point.difference
    chosen = [c.rule for c in results.choices if c.arm == point.arm]
    marks = [
        *(["best"] if "best" in chosen else []),
        *(["one standard error"] if "one_standard_error" in chosen else []),
        *([f"{len(point.diverged)} diverged"] if point.diverged else []),
        *(["baseline"] if point.strength is None else []),
    ]
    shares = results.choices[0].frequencies if results.choices else None
    cells = (
        mean("val_accuracy", 2),
        mean("val_loss", 4),
        mean(results.metric, places),
        number(None if difference is None else difference.mean, places, sign=True),
        interval(None if difference is None else difference.ci95, places, sign=True),
        mean("gap", 2),
        mean("zero_fraction", 2, 100),
        mean("weight_norm_l2", 2),
        NOTHING if shares is None or point.strength is None else f"{100 * shares[point.arm]:.0f}",
    )
    name = one_line(point.arm) if point.strength is None else f"{point.strength:g}"
    return Line(f"{name} ({', '.join(marks)})" if marks else name, cells)
