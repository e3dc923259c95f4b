"""Light and dark: everything a figure inherits, so that one drawing serves both backgrounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from cycler import cycler

from regulab.reporting.palette import BASELINE, BASELINE_DARK, COLOURS, COLOURS_DARK


@dataclass(frozen=True, kw_only=True)
class Theme:
    """The colours for one background. ``colours`` tell things apart; ``baseline`` is the colour of what they are
    compared with."""

    name: str
    paper: str
    ink: str
    soft: str  # secondary text
    faint: str  # grids and frames
    baseline: str
    colours: tuple[str, ...]
    sequential: str = "viridis"  # matplotlib's name of the map for a quantity
    diverging: str = "RdBu_r"  # for a quantity with a sign

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Figures that are made inside have this ground, this ink and these colours."""
        settings: Any = {
            "figure.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "savefig.facecolor": "auto",
            "legend.facecolor": self.paper,
            "text.color": self.ink,
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "xtick.color": self.ink,
            "ytick.color": self.ink,
            "axes.edgecolor": self.soft,
            "grid.color": self.faint,
            "legend.edgecolor": self.faint,
            "axes.prop_cycle": cycler(color=self.colours),
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.linewidth": 0.7,
            "lines.linewidth": 1.9,
            "font.family": "DejaVu Sans",
            "font.size": 12,
            "figure.titlesize": 15,
            "axes.titlesize": 12,
            "legend.fontsize": 11,
            "xtick.labelsize": 11,
            "ytick.labelsize": 11,
            "image.cmap": self.sequential,
        }
        with matplotlib.rc_context(settings):
            yield


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1f2328",
    soft="#57606a",
    faint="#d0d7de",
    baseline=BASELINE,
    colours=COLOURS,
)
DARK = Theme(
    name="dark",
    paper="#0d1117",
    ink="#e6edf3",
    soft="#9da7b1",
    faint="#3d444d",
    baseline=BASELINE_DARK,
    colours=COLOURS_DARK,
)
THEMES = (LIGHT, DARK)
