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
from regulab.reporting.observations import Observation
from regulab.reporting.tables import Row, interval, metric_name, number, rows
from regulab.statistics import Comparison

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$.-])")
_RIGHT_TO_LEFT = {"R", "AL", "RLE", "RLO", "RLI", "AN"}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure in the report: where its file lies in the run directory, and what it shows."""

    path: str
    content: bytes
    alternative: str
    heading: str = ""

    @property
    def inline(self) -> Markup:
        """The figure as a ``data:`` address, so that the page asks nobody for it."""
        kind = "svg+xml" if self.path.endswith(".svg") else "png"
        return Markup(f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}")


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """An arm's mistakes as a picture and as a list."""

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
    records: StudyRecords,
    comparison: Comparison,
    curves: list[Picture],
    galleries: list[Gallery],
    observations: list[Observation],
) -> dict[str, Any]:
    """Everything that the templates print."""
    return {
        "study": records.study,
        "records": records,
        "comparison": comparison,
        "rows": rows(records, comparison),
        "curves": curves,
        "galleries": galleries,
        "observations": observations,
        "class_names": records.class_names,
        "metric": metric_name(comparison.metric),
        "study_yaml": _yaml(records.study),
        "environment_yaml": _yaml(records.environment),
    }


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("regulab.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "md": _md,
        "path": quote,
        "percent": percent,
        "number": number,
        "interval": interval,
    }
    return environment


def _md(text: object) -> Markup:
    """Text that GitHub's Markdown prints as it stands, in tables too."""
    line = " ".join(str(text).split())
    if any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in line):
        line = f"\u2068{line}\u2069"  # isolated, so that it does not turn its neighbours around
    escaped = _MARKDOWN.sub(r"\\\1", str(escape(line)).replace("&#", "&\0"))
    return Markup(escaped.replace("&\0", "&#").replace("@", "&#64;").replace("://", "&#58;//"))


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(
        dict(content), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
