"""The page of lessons: Markdown for GitHub and HTML for a browser, from the same results.

The HTML needs the packages of `EXTRA`, which are installed with ``regulab[lessons]``; nothing else of lessons does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from regulab.errors import UserError
from regulab.files import write_whole
from regulab.lessons.kit.result import LessonResult
from regulab.reporting.templating import environment, source

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

EXTRA = {
    "markdown_it": "markdown-it-py",
    "mdit_py_plugins": "mdit-py-plugins",
    "latex2mathml": "latex2mathml",
}  # module: package
INSTALL = "pip install 'regulab[lessons]'"


def missing_packages() -> list[str]:
    """What the HTML page needs and is not installed."""
    return [package for module, package in EXTRA.items() if find_spec(module) is None]


def write_page(results: Sequence[LessonResult], out: Path, name: str) -> Path:
    """Writes the page in Markdown (``README.md`` for ``index``) and as ``<name>.html``; the path of the latter.

    Where `missing_packages` are needed for the HTML, it is left out, and the path is that of the Markdown.
    """
    footer = _footer(results)
    page = out / ("README.md" if name == "index" else f"{name}.md")
    write_whole(page, markdown(results, footer))
    if not missing_packages():
        page = out / f"{name}.html"
        write_whole(page, html(results, footer))
    return page


def markdown(results: Sequence[LessonResult], footer: str) -> bytes:
    """The page as GitHub's Markdown, with a figure for each ground."""
    page = environment().get_template("lessons.md").render(results=results, footer=footer)
    return github_equations(page).encode()


def github_equations(page: str) -> str:
    """Equations in the syntax that GitHub takes as it stands: ```` ```math ```` and ``$`…`$``.

    Between bare dollars its Markdown eats backslashes before punctuation, so that ``\\,`` becomes a comma.
    """
    page = re.sub(r"\$\$(.+?)\$\$", lambda m: f"\n```math\n{m[1].strip()}\n```\n", page, flags=re.DOTALL)
    return re.sub(r"(?<!`)\$([^$`]+)\$", r"$`\1`$", page)


def html(results: Sequence[LessonResult], footer: str) -> bytes:
    """The page as HTML with equations as MathML; it loads nothing but its own figures.

    Raises `UserError` where a package that it needs is not installed.
    """
    missing = missing_packages()
    if missing:
        raise UserError(f"the HTML page of lessons needs {', '.join(missing)}", cure=INSTALL)
    template = environment().get_template("lessons.html")
    content = template.render(
        results=results, footer=footer, style=source("style.css"), prose=_prose, inline=_inline
    )
    return content.encode()


@cache
def _renderer() -> MarkdownIt:
    """Markdown without raw HTML; ``$…$`` and ``$$…$$`` become MathML."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    return parser.use(dollarmath_plugin, renderer=_mathml, double_inline=True)


def _mathml(latex: str, options: dict[str, bool]) -> str:
    from latex2mathml.converter import convert

    return convert(latex, display="block" if options["display_mode"] else "inline")


def _prose(text: str) -> Markup:
    return Markup(_renderer().render(text))


def _inline(text: str) -> Markup:
    """One line of Markdown, without the paragraph around it."""
    return Markup(_renderer().renderInline(text))


def _footer(results: Sequence[LessonResult]) -> str:
    """When and on what the numbers were measured; lessons measured alike share a sentence."""
    alike: dict[str, list[LessonResult]] = {}
    for result in results:
        alike.setdefault(result.occasion.measured, []).append(result)
    common = max(alike, key=lambda where: len(alike[where]))
    sentences = []
    for where, together in sorted(alike.items(), key=lambda pair: pair[0] != common):
        names = ", ".join(result.lesson.name for result in together)
        which = "Measured" if where == common else f"{names}: measured"
        seconds = [result.occasion.seconds for result in together if result.occasion.seconds is not None]
        took = f", in {sum(seconds):.0f} s, figures included" if len(seconds) == len(together) else ""
        sentences.append(f"{which} {where}{took}.")
    return " ".join(sentences)
