"""A curve with its band: the mean over seeds, and from the lowest to the highest seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

BAND = "line: mean over seeds; band: from the lowest to the highest seed"


def plot_band(
    axes: Axes,
    x: ArrayLike,
    values: NDArray[np.float64],
    colour: str,
    label: str,
    *,
    dashes: Sequence[float] | None = None,
    marker: str = "",
) -> None:
    """Draws ``values`` ``(S, X)`` over ``x`` ``(X,)``; a column that has a nan is left out."""
    style = (0, tuple(dashes)) if dashes else "-"
    axes.fill_between(x, values.min(0), values.max(0), color=colour, alpha=0.18, linewidth=0)
    axes.plot(x, values.mean(0), color=colour, linestyle=style, marker=marker, markersize=5, label=label)
