"""The figures of the lesson ``outliers``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.lessons.penalties.outliers.experiment import (
    DRAWS,
    LOSSES,
    PATIENTS,
    SIZES,
    TO,
    WRONG,
    Array,
    OutlierShifts,
    Sample,
    least_squares,
    with_ones,
)
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme

SHOWN = 10.0  # the size in the figure of the fits


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: OutlierShifts = measured.evidence
    v = measured.values
    return [
        LessonFigure(
            name="fits",
            figure=_fits(evidence.sample, theme),
            caption=(
                f"One sample with outliers of {SHOWN:g} deviations, in the response (left) and in x"
                " (right): the line of each loss with them, and the least-squares line of the patients as"
                " they were."
            ),
            alternative=(
                f"Scatter plots with fitted lines. {WRONG} of {PATIENTS} points are spoiled: left, moved"
                " up; right, moved to the right."
            ),
        ),
        LessonFigure(
            name="influence",
            figure=_influence(evidence, theme),
            caption=(
                "How far the fit moves with the size of the outliers, both axes logarithmic: median of"
                f" {DRAWS} samples, band from the lower to the upper quartile. Left and middle: losses."
                " Right: penalties, the part of the weights alone."
            ),
            alternative=(
                f"At {TO:g} σ in the response L2 loss shifts by {v[f'response_l2_{TO:g}']:.3g} σ, L1 loss"
                f" by {v[f'response_l1_{TO:g}']:.2g} σ; in x {v[f'input_l2_{TO:g}']:.2g} and"
                f" {v[f'input_l1_{TO:g}']:.2g} σ. Squared loss: no penalty {v['penalty_none']:.3g}, L2"
                f" {v['penalty_ridge']:.3g}, L1 {v['penalty_lasso']:.3g} σ."
            ),
        ),
    ]


def _fits(sample: Sample, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    x, y = sample.line, sample.y
    for axes, wrong, inputs, targets, title in (
        (left, sample.in_response, x, sample.spoiled_response(SHOWN), "Outliers in the response"),
        (right, sample.in_input, sample.spoiled_input(SHOWN), y, "Outliers in x (leverage points)"),
    ):
        kept = np.setdiff1d(np.arange(PATIENTS), wrong)
        axes.scatter(
            inputs[kept, 0], targets[kept], s=22, color=theme.soft, alpha=0.7, linewidth=0, label="patients"
        )
        axes.scatter(
            inputs[wrong, 0],
            targets[wrong],
            s=46,
            marker="X",
            color=theme.colours[3],
            label="spoiled patients",
        )
        ends = np.array([[inputs.min() - 0.3], [inputs.max() + 0.3]])
        lines: list[tuple[str, Array, str, Any]] = [
            ("L2 loss without outliers", least_squares(x, y), theme.ink, (0, DASHES[3]))
        ]
        for (name, fit), colour, dash in zip(
            LOSSES.items(), (theme.colours[1], theme.colours[0]), ("-", (0, DASHES[0])), strict=True
        ):
            lines.append((f"{name} with outliers", fit(inputs, targets), colour, dash))
        for label, coefficients, colour, dash in lines:
            axes.plot(
                ends[:, 0],
                with_ones(ends) @ coefficients,
                color=colour,
                linestyle=dash,
                linewidth=2.4,
                label=label,
            )
        axes.set(
            xlabel="body-mass index (deviations from its mean)",
            ylabel="disease progression (deviations)",
            title=title,
        )
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _influence(evidence: OutlierShifts, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 5), layout="constrained")
    places = figure.subplots(1, 3, sharey=True)
    methods = list(evidence.penalties)
    colours = (theme.colours[1], theme.colours[4], theme.colours[2], theme.colours[0], theme.colours[3])
    dashes: Sequence[Any] = ("-", (0, DASHES[0]), (0, DASHES[1]), (0, DASHES[2]), (0, DASHES[4]))
    looks = dict(zip(methods, zip(colours, dashes, strict=True), strict=True))
    for axes, curves, title in zip(
        places,
        (evidence.response, evidence.leverage, evidence.penalties),
        (
            "Outliers in the response",
            "Outliers in x",
            "In the response, with penalties",
        ),
        strict=True,
    ):
        _curves(axes, curves, looks)
        axes.set(xscale="log", yscale="log", title=title, xlabel="size of the outliers (σ)")
    places[0].set_ylabel("shift of the fit (σ)")
    figure.legend(*places[2].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _curves(axes: Axes, curves: Mapping[str, Array], looks: Mapping[str, tuple[str, Any]]) -> None:
    for name, table in curves.items():
        colour, dash = looks[name]
        low, middle, high = np.quantile(table, (0.25, 0.5, 0.75), axis=0)
        axes.fill_between(SIZES, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(SIZES, middle, color=colour, linestyle=dash, label=name)
