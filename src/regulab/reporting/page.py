"""The pages: one HTML file that needs nothing beside it, and the same as Markdown for GitHub."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from regulab.records import StudyRecords
from regulab.reporting.mistakes import Selection, caption, percent, title
from regulab.reporting.observations import notes, observe
from regulab.reporting.tables import MEASURES, further, metric_name, rows, unit
from regulab.statistics import Comparison

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$#])")  # what means something in the middle of a line
_START = re.compile(r"^(\d*)([-+.)])")  # what would make a list of a paragraph
_RIGHT_TO_LEFT = {"R", "AL", "RLE", "RLO", "RLI", "AN"}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure in the report: what it shows, its file's path in the run directory, and that of the PNG."""

    path: str
    raster: str
    content: bytes
    alternative: str

    @property
    def inline(self) -> Markup:
        """The figure as a ``data:`` address, so that the page asks nobody for it."""
        kind = "svg+xml" if self.path.endswith(".svg") else "png"
        return Markup(f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}")


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """An arm's mistakes as a picture and as a list."""

    heading: str
    picture: Picture
    selection: Selection

    @property
    def title(self) -> str:
        return title(self.selection)

    @property
    def caption(self) -> str:
        return caption(self.selection)


def html(context: Mapping[str, Any]) -> bytes:
    return _environment().get_template("report.html").render(context).encode()


def markdown(context: Mapping[str, Any]) -> bytes:
    return _environment().get_template("readme.md").render(context).encode()


def context(
    records: StudyRecords, comparison: Comparison, curves: list[Picture], galleries: list[Gallery]
) -> dict[str, Any]:
    """Everything that the templates print."""
    return {
        "study": records.study,
        "comparison": comparison,
        "summary": _summary(records),
        "columns": _columns(comparison),
        "explanation": _explanation(comparison),
        "rows": rows(records, comparison),
        "curves": curves,
        "galleries": galleries,
        "observations": observe(records, comparison),
        "notes": notes(records, comparison),
        "measures": [heading for _, heading, _, _ in MEASURES],
        "further": further(records),
        "class_names": records.class_names,
        "study_yaml": _yaml(records.study),
        "environment_yaml": _yaml(records.environment),
    }


def _summary(records: StudyRecords) -> str:
    """One line on what was trained: data, model, how many runs of how many epochs, protocol."""
    study, results = records.study, records.results
    parameters = f" ({results[0].parameters:,} parameters)" if results else ""
    planned = len(study["arms"]) * len(study["seeds"])
    return " · ".join(
        (
            f"data {study['data']['name']}",
            f"model {study['model']['name']}{parameters}",
            f"{len(study['arms'])} arms × {len(study['seeds'])} seeds × {study['train']['epochs']} epochs",
            f"{len(results)} of {planned} runs finished",
            f"protocol {study['protocol']['kind']}",
        )
    )


def _columns(comparison: Comparison) -> list[str]:
    measured = f"{metric_name(comparison.metric)}{_in(unit(comparison.metric))}"
    return ["arm", "seeds", measured, "95 % t interval", f"difference to {comparison.baseline}",
            "95 % t interval", "p (Holm)", "verdict"]  # fmt: skip


def _in(measured: str) -> str:
    return f" ({measured.strip()})" if measured else ""


def _explanation(comparison: Comparison) -> str:
    """How to read the table of verdicts."""
    weights = (
        "the final weights" if comparison.epoch == "final" else "the epoch of the lowest validation loss"
    )
    measured = " points" if comparison.metric.endswith("accuracy") else unit(comparison.metric)
    return (
        f"{metric_name(comparison.metric).capitalize()} of {weights}, mean over seeds. Differences are "
        f"paired by seed. Verdicts: sign-flip permutation tests, Holm-adjusted over the arms, at 5 %; "
        f"equivalent means that a true difference of {comparison.margin:.3g}{measured} or more either way is "
        f"rejected; undecided that neither a difference nor equivalence could be shown."
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("regulab.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": markdown_text, "path": quote, "percent": percent, "one_line": _one_line}
    return environment


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def markdown_text(text: object) -> Markup:
    """Text that GitHub's Markdown prints as it stands, in tables too."""
    line = _one_line(text)
    if any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in line):
        line = f"\u2068{line}\u2069"  # isolated, so that it does not turn its neighbours around
    escaped = _MARKDOWN.sub(r"\\\1", str(escape(line)).replace("&#", "&\0"))
    escaped = _START.sub(r"\1\\\2", escaped)
    return Markup(escaped.replace("&\0", "&#").replace("@", "&#64;").replace("://", "&#58;//"))


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(
        dict(content), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
