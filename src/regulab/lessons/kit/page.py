"""The page of lessons: Markdown for GitHub and HTML for a browser, from the same lessons told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markupsafe import Markup
from mdit_py_plugins.dollarmath import dollarmath_plugin

from regulab.files import write_whole
from regulab.lessons.kit.run_lesson import Told
from regulab.reporting.templating import environment, source


def markdown(told: Sequence[Told], footer: str) -> bytes:
    """The page as GitHub's Markdown, with a picture for each ground."""
    page = environment().get_template("lessons.md").render(told=told, footer=footer)
    return github_equations(page).encode()


def github_equations(page: str) -> str:
    """Equations in the syntax that GitHub takes as it stands: ```` ```math ```` and ``$`…`$``.

    Between bare dollars its Markdown eats backslashes before punctuation, so that ``\\,`` becomes a comma.
    """
    page = re.sub(r"\$\$(.+?)\$\$", lambda m: f"\n```math\n{m[1].strip()}\n```\n", page, flags=re.DOTALL)
    return re.sub(r"(?<!`)\$([^$`]+)\$", r"$`\1`$", page)


def html(told: Sequence[Told], footer: str) -> bytes:
    """The page as HTML with equations as MathML; it loads nothing but its own pictures."""
    template = environment().get_template("lessons.html")
    content = template.render(
        told=told, footer=footer, style=source("style.css"), prose=_prose, inline=_inline
    )
    return content.encode()


@cache
def _renderer() -> MarkdownIt:
    """Markdown without raw HTML; ``$…$`` and ``$$…$$`` become MathML."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    return parser.use(dollarmath_plugin, renderer=_mathml, double_inline=True)


def _mathml(latex: str, options: dict[str, bool]) -> str:
    return convert(latex, display="block" if options["display_mode"] else "inline")


def _prose(text: str) -> Markup:
    return Markup(_renderer().render(text))


def _inline(text: str) -> Markup:
    """One line of Markdown, without the paragraph around it."""
    return Markup(_renderer().renderInline(text))


def write_page(told: Sequence[Told], out: Path, name: str) -> Path:
    """Writes ``<name>.html`` and its twin in Markdown (``README.md`` for ``index``); the path of the former."""
    footer = _footer(told)
    write_whole(out / f"{name}.html", html(told, footer))
    write_whole(out / ("README.md" if name == "index" else f"{name}.md"), markdown(told, footer))
    return out / f"{name}.html"


def _footer(told: Sequence[Told]) -> str:
    """When and on what the numbers were measured; lessons measured alike share a sentence."""
    alike: dict[str, list[Told]] = {}
    for one in told:
        alike.setdefault(one.occasion.measured, []).append(one)
    common = max(alike, key=lambda where: len(alike[where]))
    sentences = []
    for where, lessons in sorted(alike.items(), key=lambda pair: pair[0] != common):
        which = (
            "Measured" if where == common else f"{', '.join(one.lesson.name for one in lessons)}: measured"
        )
        seconds = [one.occasion.seconds for one in lessons if one.occasion.seconds is not None]
        took = f", in {sum(seconds):.0f} s, figures included" if len(seconds) == len(lessons) else ""
        sentences.append(f"{which} {where}{took}.")
    return " ".join(sentences)
