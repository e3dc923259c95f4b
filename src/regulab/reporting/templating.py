"""Templates, and text that Markdown prints literally."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from regulab.reporting.mistakes import percent
from regulab.wording import isolated, one_line, visible

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$#])")  # what means something in the middle of a line
_START = re.compile(
    r"^(\d*)([-+.)])(?=\s|-|$)"
)  # what would make a list of a paragraph, or a line across the page


@cache
def environment() -> Environment:
    """The templates of this folder, escaping by default; an unknown name is an error.

    ``html`` and ``markdown`` are the macros of each kind of page.
    """
    found = Environment(
        loader=PackageLoader("regulab.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalize,
    )
    found.filters |= {
        "md": markdown_text,
        "path": quote,
        "percent": percent,
        "one_line": one_line,
        "cell": table_cell,
    }
    macros = {"html": "macros.html", "markdown": "macros.md"}
    found.globals |= {name: found.get_template(file).module for name, file in macros.items()}
    return found


def _finalize(value: object) -> object:
    """Every text that a page prints, but markup of our own, shows what is not seen instead of hiding it."""
    return (
        visible(value, isolates=True) if isinstance(value, str) and not isinstance(value, Markup) else value
    )


def source(name: str) -> Markup:
    """A file of the templates' folder, unchanged: a style or a script."""
    loader = environment().loader
    assert loader is not None
    return Markup(loader.get_source(environment(), name)[0])


def script_hash(script: str) -> str:
    """The source expression by which a Content-Security-Policy permits exactly this script: ``'sha256-…'``."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def table_cell(text: object) -> str:
    """Markdown of ours on one line, with the bars that would end a table's cell escaped."""
    return one_line(text).replace("|", "\\|")


def markdown_text(text: object) -> Markup:
    """Text that GitHub's Markdown prints literally, in tables too."""
    line = isolated(one_line(text, isolates=True))
    escaped = _MARKDOWN.sub(r"\\\1", str(escape(line)).replace("&#", "&\0"))
    escaped = _START.sub(r"\1\\\2", escaped)
    return Markup(escaped.replace("&\0", "&#").replace("@", "&#64;").replace("://", "&#58;//"))
