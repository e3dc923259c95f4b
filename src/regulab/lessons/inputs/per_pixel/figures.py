"""The figures of the lesson ``per-pixel``."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from regulab.lessons.inputs.per_pixel.experiment import NORMALIZE, Array, Maps, PixelMapsAndAccuracies
from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.reporting.theme import Theme

LIMIT = 4.0  # |z| where the colours of the figure end


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: PixelMapsAndAccuracies = measured.evidence
    values = measured.values
    return [
        LessonFigure(
            name="maps",
            figure=_maps_figure(evidence.maps, theme),
            caption=(
                "The mean image, the deviation image, and by how much larger a z-score per pixel is than one per"
                " channel (logarithmic; hatched: constant pixels, 0/0)."
            ),
            alternative=(
                f"Three maps. Deviations of pixels run from {values['least']:.2g} to {values['most']:.2g};"
                f" {values['constant']} of {values['pixels']} pixels are constant. Mean deviation of the border"
                f" {values['border']:.2g}, of the middle {values['middle']:.2g}."
            ),
        ),
        LessonFigure(
            name="samples",
            figure=_samples_figure(evidence, theme),
            caption=(
                "Training images and their z-scores with constants per channel and per pixel, on one scale. The last"
                " column repeats the first image with one white pixel, where pixels vary least."
            ),
            alternative=(
                "Samples with z-scores of both kinds. The stray pixel has a z-score of"
                f" {values['white_least']:.0f} per pixel."
            ),
        ),
        LessonFigure(
            name="networks",
            figure=_networks_figure(evidence, theme),
            caption=(
                "Networks trained with either kind of constants; a line joins the two networks of a seed, which share"
                " initial weights and the order of images. The bar is the mean."
            ),
            alternative=(
                f"Test accuracy per channel {values['accuracy_channel']:.2f} %, per pixel"
                f" {values['accuracy_pixel']:.2f} % ({values['verdict']}). Lost to a stray pixel:"
                f" {values['lost_channel']:.1f} and {values['lost_pixel']:.1f} points."
            ),
        ),
    ]


def _maps_figure(maps: Maps, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    panels = figure.subplots(1, 3)
    grey = maps.mean.shape[0] == 1
    shown = [
        (panels[0].imshow(_seen(maps.mean), cmap="gray", vmin=0, vmax=1), "mean image"),
        (panels[1].imshow(maps.deviation.mean(0), cmap=theme.sequential, vmin=0), "deviation image"),
    ]
    constant: NDArray[np.bool_] = np.all(maps.constant, axis=0)
    gain = np.full(constant.shape, np.nan)
    gain[~constant] = np.nanmean(maps.gain[:, ~constant], axis=0)
    far = float(np.nanmax(np.abs(np.log10(gain))))
    third = panels[2].imshow(np.log10(gain), cmap=theme.diverging, vmin=-far, vmax=far)
    _hatch(panels[2], constant, theme)
    for axes in panels:
        _bare(axes)
    for axes, (image, title) in zip(panels[:2], shown, strict=True):
        axes.set_title(title)
        if grey or title != "mean image":
            figure.colorbar(image, ax=axes, shrink=0.74)
    panels[2].set_title("z per pixel ÷ z per channel")
    bar = figure.colorbar(third, ax=panels[2], shrink=0.74)
    factors = [factor for factor in (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100) if abs(np.log10(factor)) <= far]
    factors = factors if len(factors) <= 6 else [f for f in factors if f in (0.01, 0.1, 1, 10, 100)]
    bar.set_ticks(
        [float(np.log10(factor)) for factor in factors], labels=[f"×{factor:g}" for factor in factors]
    )
    return figure


def _hatch(axes: Axes, constant: NDArray[np.bool_], theme: Theme) -> None:
    for row, column in np.argwhere(constant):
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5),
                1,
                1,
                facecolor=theme.faint,
                edgecolor=theme.soft,
                hatch="////",
                linewidth=0,
            )
        )


def _samples_figure(evidence: PixelMapsAndAccuracies, theme: Theme) -> Figure:
    count = len(evidence.samples)
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    panels = figure.subplots(3, count)
    for column in range(count):
        panels[0, column].imshow(_seen(evidence.samples[column]), cmap="gray", vmin=0, vmax=1)
        for row, arm in enumerate(NORMALIZE, 1):
            image = panels[row, column].imshow(
                evidence.scores[arm][column].mean(0), cmap=theme.diverging, vmin=-LIMIT, vmax=LIMIT
            )
        for axes in panels[:, column]:
            _bare(axes)
            axes.spines[:].set(visible=True, color=theme.faint)
    for axes, label in zip(panels[:, 0], ("image", *(f"z {arm}" for arm in NORMALIZE)), strict=True):
        axes.set_ylabel(label)
    panels[0, -1].set_title("stray pixel")
    for row, arm in enumerate(NORMALIZE, 1):
        highest = np.abs(evidence.scores[arm][-1]).max()
        panels[row, -1].set_xlabel(
            f"max |z| {highest:,.0f}" if highest >= 100 else f"max |z| {highest:.1f}", fontsize=11
        )
    figure.colorbar(image, ax=panels, label="z", extend="both", shrink=0.6)
    return figure


def _networks_figure(evidence: PixelMapsAndAccuracies, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, by_arm, title in (
        (panels[0], evidence.accuracy, "test accuracy, %"),
        (panels[1], evidence.lost, "validation accuracy lost to a stray pixel, points"),
    ):
        both = np.stack([by_arm[arm] for arm in NORMALIZE])  # (2, S)
        axes.plot([0, 1], both, color=theme.soft, linewidth=1, marker="o", markersize=4)
        for place, colour in enumerate((theme.baseline, theme.colours[1])):
            axes.scatter(np.full(both.shape[1], place), both[place], s=42, color=colour, zorder=3)
            axes.hlines(
                np.nanmean(both[place]), place - 0.18, place + 0.18, color=colour, linewidth=3, zorder=4
            )
        axes.set(xlim=(-0.5, 1.5), xticks=[0, 1], xticklabels=list(NORMALIZE))
        axes.set_title(title)
        axes.grid(visible=False, axis="x")
    panels[1].set_ylim(bottom=min(0, panels[1].get_ylim()[0]))
    return figure


def _seen(image: Array) -> Array:
    """``(C, H, W)`` as imshow takes it."""
    return image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
