"""A figure of a report: pictures in files of the run directory, shown under one of the sections."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup
from matplotlib.figure import Figure as Drawn

from regulab.reporting.data import ReportData

Kind = Literal["png", "svg"]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The interactive twin of a picture.

    ``specification`` is Vega-Lite's (None without a finite value); ``lines`` are the same numbers as a table:
    a label and a cell for each of the ``epochs``.
    """

    name: str
    specification: dict[str, Any] | None
    epochs: list[int]
    lines: list[tuple[str, list[str]]]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A picture before it is drawn.

    ``path`` is the path of its files in the run directory, without suffix; ``alternative`` says in words what it shows;
    ``words`` are for those who can see it. The page shows the last of ``kinds``, the README the PNG. A picture has its
    own background, so that it is legible on light and on dark pages.
    """

    path: str
    title: str
    alternative: str
    draw: Callable[[], Drawn]
    kinds: tuple[Kind, ...] = ("png", "svg")
    words: str = ""
    chart: Chart | None = None


@dataclass(frozen=True, kw_only=True)
class DrawnPicture:
    """A drawing that was drawn; ``content`` is the file that the page shows."""

    drawing: Drawing
    content: bytes

    @property
    def raster(self) -> str:
        """The path of the PNG."""
        return f"{self.drawing.path}.png"

    @property
    def inline(self) -> Markup:
        """The picture as a ``data:`` address, so that the page asks nobody for it."""
        kind = "svg+xml" if self.drawing.kinds[-1] == "svg" else "png"
        return Markup(f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """A figure, which a file of ``reporting/figures`` defines: one picture, or as many as there are arms.

    ``section`` names the section under which it stands, after the section's own text; with ``placed`` the
    section's templates show it where they want, as ``pictures``. Smallest ``order`` first.
    """

    name: str
    section: str
    order: int
    drawings: Callable[[ReportData], Iterable[Drawing]]
    placed: bool = False
