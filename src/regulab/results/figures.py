"""The report's figures as matplotlib's, which show themselves in a notebook and leave no state behind."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import NamedTuple

from matplotlib.figure import Figure

from regulab.reporting import curve_figure
from regulab.reporting.data import ReportData
from regulab.reporting.figures import galleries, val_accuracy, val_loss
from regulab.reporting.mistakes import select
from regulab.reporting.rendering import render


class Curves(NamedTuple):
    """The two graphs of a study over its epochs, each with all epochs and the last third."""

    accuracy: Figure  # validation accuracy, in %
    loss: Figure  # validation loss: mean cross-entropy in nats, without penalties

    def _ipython_display_(self) -> None:
        """Two pictures in a notebook, one under the other: GitHub shows pictures, but none inside of HTML."""
        for figure in self:
            import_module("IPython.display").display(figure)


def both_curves(data: ReportData) -> Curves:
    shown = (val_accuracy.CURVE, val_loss.CURVE)
    return Curves(*(_for_notebooks(curve_figure.draw(data, one)) for one in shown))


def gallery(data: ReportData, arm: str, count: int) -> Figure:
    return _for_notebooks(galleries.draw(select(data.records, arm, count), data.picture_names))


def _for_notebooks(figure: Figure) -> Figure:
    """A figure made without pyplot has no picture of its own in a notebook: this gives it the report's."""
    figure._repr_png_ = partial(render, figure, "png")  # type: ignore[attr-defined]
    return figure
