"""Validation loss over the epochs, without penalties."""

from __future__ import annotations

from regulab.reporting.curve_figure import curve_figure
from regulab.reporting.curves import Curve

CURVE = Curve(
    measure="val_loss",
    training="train_loss",
    title="Validation loss",
    axis="validation loss\n(nats, cross-entropy without penalty)",
    unit="nats",
    places=4,
    loss=True,
)
FIGURE = curve_figure(CURVE, order=20)
