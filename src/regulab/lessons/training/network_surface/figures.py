"""The figures of the lesson ``network-surface``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.lessons.training.network_surface.experiment import (
    DISTANCE,
    KEYS,
    LINE,
    PARTS,
    PLANE,
    SEEDS,
    SurfaceLosses,
)
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme

TICKS = (-1, -0.5, 0, 0.5, 1)


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: SurfaceLosses = measured.evidence
    v = measured.values
    listed = ", ".join(f"{name} {v[f'rise_train_{key}']:.2g}" for name, key in KEYS.items())
    return [
        LessonFigure(
            name="lines",
            figure=_lines(evidence, theme),
            caption=(
                f"The loss along one filter-normalized random direction: geometric mean over {SEEDS}"
                " seeds, band one standard deviation each way (in the logarithm). The dotted verticals"
                " mark the distance at which the rise is measured."
            ),
            alternative=f"Rise of the training loss at {DISTANCE:g}, in nats: {listed}.",
        ),
        LessonFigure(
            name="planes",
            figure=_planes(evidence, theme),
            caption=(
                "Training loss of one network of each arm on the plane of two such directions, the same"
                " draw and the same levels for all. The cross marks the trained weights."
            ),
            alternative=(
                "Contours of the training loss. At the trained weights and at their lowest and highest: "
                + "; ".join(
                    f"{name} {plane[len(PLANE) // 2, len(PLANE) // 2]:.2g}, {plane.min():.2g} to"
                    f" {plane.max():.2g} nats"
                    for name, plane in evidence.planes.items()
                )
                + "."
            ),
        ),
    ]


def _lines(evidence: SurfaceLosses, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 5), layout="constrained")
    places = figure.subplots(1, 2, sharey=True)
    colours = (theme.baseline, theme.colours[0], theme.colours[1], theme.colours[2], theme.soft)
    dashes: Sequence[Any] = ("-", *((0, dash) for dash in DASHES))
    for axes, part, title in zip(places, PARTS, ("Training loss", "Validation loss"), strict=True):
        for (name, parts), colour, dash in zip(evidence.lines.items(), colours, dashes, strict=False):
            logs = np.log(parts[part])
            middle, spread = logs.mean(0), logs.std(0, ddof=1)
            axes.fill_between(
                LINE, np.exp(middle - spread), np.exp(middle + spread), color=colour, alpha=0.1, linewidth=0
            )
            axes.plot(LINE, np.exp(middle), color=colour, linestyle=dash, label=name)
        for at in (-DISTANCE, DISTANCE):
            axes.axvline(at, color=theme.soft, linestyle=":", linewidth=1.2)
        axes.set(yscale="log", title=title, xlabel="α, in lengths of each filter", xlim=(-1, 1), xticks=TICKS)
    places[0].set_ylabel("loss (nats)")
    figure.legend(*places[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _planes(evidence: SurfaceLosses, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 9), layout="constrained")
    places = figure.subplots(2, 2, sharex=True, sharey=True)
    lowest = max(1e-3, min(float(plane.min()) for plane in evidence.planes.values()))
    highest = max(float(plane.max()) for plane in evidence.planes.values())
    levels = np.geomspace(lowest, highest, 16)
    filled: Any = None
    words = [f"{tick:g}".replace("-", "−") for tick in TICKS]
    ticks: dict[str, Any] = {"xticks": TICKS, "xticklabels": words, "yticks": TICKS, "yticklabels": words}
    for axes, (name, plane) in zip(places.flat, evidence.planes.items(), strict=True):
        axes.grid(False)
        norm = LogNorm(lowest, highest)
        clipped = np.clip(plane, lowest, highest)
        filled = axes.contourf(PLANE, PLANE, clipped, levels=levels, norm=norm, alpha=0.85)
        axes.contour(PLANE, PLANE, clipped, levels=levels, colors=theme.paper, linewidths=0.6)
        axes.plot(0, 0, marker="X", markersize=10, color="white", markeredgecolor="black")
        axes.set(title=name, aspect="equal", **ticks)
    for axes in places[1]:
        axes.set_xlabel("α")
    for axes in places[:, 0]:
        axes.set_ylabel("β")
    bar = figure.colorbar(filled, ax=places, shrink=0.7, ticks=levels[::3], format="%.2g")
    bar.ax.minorticks_off()
    bar.set_label("training loss (nats)")
    return figure
