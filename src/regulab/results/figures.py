"""The report's figures as matplotlib's, which show themselves in a notebook and leave no state behind."""

from __future__ import annotations

import base64
from functools import partial
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure

from regulab.records import StudyRecords
from regulab.reporting import curves, galleries
from regulab.reporting.figures import render
from regulab.reporting.mistakes import select


class Curves(NamedTuple):
    """The two graphs of a study over its epochs, each with all epochs and the last third."""

    accuracy: Figure  # validation accuracy, in %
    loss: Figure  # validation loss: mean cross-entropy in nats, without penalties

    def _repr_html_(self) -> str:
        pictures = (
            Markup('<img alt="{}" style="max-width: 100%" src="data:image/png;base64,{}">').format(
                f"validation {name}", base64.b64encode(render(figure, "png")).decode()
            )
            for name, figure in self._asdict().items()
        )
        return str(Markup("").join(pictures))


def both_curves(records: StudyRecords) -> Curves:
    return Curves(*(_for_notebooks(curves.draw(records, one)) for one in ("val_accuracy", "val_loss")))


def gallery(records: StudyRecords, arm: str, count: int) -> Figure:
    return _for_notebooks(galleries.draw(records, select(records, arm, count)))


def _for_notebooks(figure: Figure) -> Figure:
    """A figure made without pyplot has no picture of its own in a notebook: this gives it the report's."""
    figure._repr_png_ = partial(render, figure, "png")  # type: ignore[attr-defined]
    return figure
