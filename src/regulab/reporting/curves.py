"""Validation accuracy and loss over the epochs: what their figures show, in words and in numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regulab.config.paths import shown_name
from regulab.reporting.data import ReportData
from regulab.reporting.series import Band, Measure, Series
from regulab.wording import isolated, one_line, quoted

BANDS = {
    "interval": "line: mean over seeds; band: 95 % t interval of that mean",
    "range": "line: mean over seeds; band: lowest to highest seed",
    "none": "line: the only seed",
    "left out": "line: mean over seeds; without bands, as the arms are many",
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A measure of the validation split as its figure shows it, beside ``training``, the same of an epoch's batches.

    An accuracy is in %, and higher is better; a ``loss`` is in nats, lower is better, and its axis logarithmic.
    """

    measure: Measure
    training: Measure
    title: str
    axis: str
    unit: str
    places: int  # decimal places of its numbers
    loss: bool


def band_words(shown: Sequence[Series], band: Band) -> str:
    """What lines and bands are."""
    cut = any(one.is_cut(band) for one in shown)
    return f"{BANDS[band]}{', cut at the ends of its range' if cut else ''}"


def axis_lines(data: ReportData, curve: Curve) -> list[str]:
    """The title of the vertical axis, line by line."""
    course = data.records.study["protocol"]["kind"] == "course"
    return [*curve.axis.split("\n"), *(["(the validation split is the test split)"] if course else [])]


def alternative(data: ReportData, curve: Curve) -> str:
    """What the figure shows, for those who cannot see it: each arm's mean at its last epoch."""
    ends = [
        f"{quoted(one.arm)} ends at {one.mean[-1]:.4g} {curve.unit}"
        for one in data.series[curve.measure]
        if one.runs and np.isfinite(one.mean[-1])
    ]
    dataset = quoted(shown_name(data.records.study["data"]["name"]))
    return f"{curve.title} on {dataset} by epoch, one curve per arm; mean over seeds: {'; '.join(ends)}."


def milestones(data: ReportData, curve: Curve) -> tuple[list[int], list[tuple[str, list[str]]]]:
    """The curves in numbers: six epochs or fewer, evenly apart, and each arm's means there."""
    shown = data.series[curve.measure]
    last = max((one.values.shape[1] for one in shown), default=0)
    epochs = sorted({max(1, round(last * part / 5)) for part in range(6)}) if last else []
    lines = []
    for one in shown:
        means = [one.mean[epoch - 1] if one.runs else math.nan for epoch in epochs]
        cells = [f"{mean:.{curve.places}f}" if np.isfinite(mean) else "–" for mean in means]
        lines.append((label(data, one), cells))
    return epochs, lines


def label(data: ReportData, one: Series) -> str:
    """The arm's legend and how many runs its curve is the mean of."""
    return counted(data.records.legends.get(one.arm, one.arm), one)


def counted(name: str, one: Series) -> str:
    """A name of an arm and how many runs its curve is the mean of."""
    legend = one_line(name, 72)
    begin = (
        "" if isolated(legend) == legend else "\u200e"
    )  # else a name from right to left turns the line around
    if not one.runs:
        return f"{begin}{legend} · no finite value"
    return f"{begin}{legend} · n = {one.runs} seed{'s' if one.runs > 1 else ''}"
