"""A section of a report: what it shows, and how the page and the README print that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from regulab.reporting.data import ReportData
from regulab.reporting.tiles import View

Content = Mapping[str, Any]


def _no_tiles(content: Content) -> Iterable[View]:
    return ()


def _always(data: ReportData) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A section in one of the two documents: its place there, smallest ``order`` first, and the template of its text.

    The heading is printed above the text already.
    """

    order: int
    template: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """A section, which a file of ``reporting/sections`` defines.

    ``name`` is its anchor on the page, ``title`` its heading, ``menu`` what the page's menu calls it (the title where
    it is empty). ``content(data)`` returns what the templates print, by names that this section alone sees; it computes
    from `ReportData` and reads no file. Templates are Jinja's. They also see ``arms``, ``class_names``, ``legends``,
    ``pictures`` (of the figures that name this section and leave the placing to it), ``no_charts`` (why the page has no
    interactive charts, or empty) and ``sprite``; ``html.lines``, ``html.tiles`` and ``markdown.lines`` are macros. What
    they print is escaped; in the README it takes the filter ``md`` as well. ``tiles(content)`` are the views of images
    that the page shows, whose images all sections keep in one picture. ``shown(data)`` says whether the study has what
    the section is about; of one that is not shown nothing is printed, nor its content asked for.
    """

    name: str
    title: str
    content: Callable[[ReportData], Content]
    page: Printed
    readme: Printed | None = None
    menu: str = ""
    tiles: Callable[[Content], Iterable[View]] = _no_tiles
    shown: Callable[[ReportData], bool] = _always
