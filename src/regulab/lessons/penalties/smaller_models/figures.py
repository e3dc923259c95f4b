"""The figure of the lesson ``smaller-models``."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.lessons.penalties.smaller_models.experiment import PrunedNetworks, label
from regulab.reporting.theme import Theme
from regulab.statistics.intervals import PERCENT, mean_interval

LINES = {"none": ("o", "-"), "l1": ("s", (0, (5, 1.5))), "l2": ("^", (0, (1.5, 1.2)))}


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    values = measured.values
    return [
        LessonFigure(
            name="pruned",
            figure=_pruned_figure(measured.evidence, theme),
            caption=(
                "Networks pruned by magnitude after training, from all weights (left of each panel) on:"
                " mean and 95 % interval over the seeds; the grey band is the unpruned baseline ± the margin. The two"
                " panels on the right are of the networks after their dead filters are removed."
            ),
            alternative=(
                f"Unpruned accuracy without a penalty {values['baseline']:.2f} %. With a quarter of the weights:"
                f" without a penalty {values['none 25%']}, L1 {values['l1 25%']}, L2 {values['l2 25%']}; the L1"
                f" network's file is {values['l1_file']:.0f} % of the unpruned one's, its arithmetic"
                f" {values['l1_arithmetic']:.0f} %."
            ),
        )
    ]


def _pruned_figure(evidence: PrunedNetworks, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    accuracy, size, arithmetic = figure.subplots(1, 3, width_ratios=[1.25, 1, 1])
    kept = 100 * np.array(evidence.fractions)
    baseline = evidence.accuracy["none"][:, 0].mean()
    accuracy.axhspan(
        baseline - evidence.margin, baseline + evidence.margin, color=theme.faint, alpha=0.45, linewidth=0
    )
    for index, arm in enumerate(evidence.accuracy):
        colour = (theme.baseline, *theme.colours)[index]
        marker, line = LINES[arm]
        look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": line, "markersize": 6}
        columns = evidence.accuracy[arm].T
        low, high = np.transpose([mean_interval(c, bounds=PERCENT) or (c[0], c[0]) for c in columns])
        accuracy.fill_between(kept, low, high, color=colour, alpha=0.18, linewidth=0)
        accuracy.plot(kept, columns.mean(1), label=label(arm, evidence), **look)
        size.plot(kept, evidence.bytes[arm].mean(0) / 1024, **look)
        base = evidence.arithmetic["none"][:, 0].mean()
        arithmetic.plot(kept, 100 * evidence.arithmetic[arm].mean(0) / base, **look)
    for axes in (accuracy, size, arithmetic):
        axes.set_xscale("log")
        axes.set_xlim(112, 4.5)
        axes.set_xticks([100, 50, 25, 10, 5], ["100", "50", "25", "10", "5"])
        axes.minorticks_off()
        axes.set_xlabel("weights kept (%)")
    size.set_ylim(bottom=0)
    arithmetic.set_ylim(0, 105)
    accuracy.set_title("Test accuracy (%)")
    size.set_title("Compressed file (KiB)")
    arithmetic.set_title("Multiply-accumulates (%)")
    handles, labels = accuracy.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
