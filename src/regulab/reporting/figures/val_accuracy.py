"""Validation accuracy over the epochs."""

from __future__ import annotations

from regulab.reporting.curve_figure import curve_figure
from regulab.reporting.curves import Curve

CURVE = Curve(
    measure="val_accuracy",
    training="train_accuracy",
    title="Validation accuracy",
    axis="validation accuracy (%)",
    unit="%",
    places=2,
    loss=False,
)
FIGURE = curve_figure(CURVE, order=10)
