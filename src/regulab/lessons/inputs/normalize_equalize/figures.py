"""The figures of the lesson ``normalize-equalize``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regulab.data.histograms import Levels
from regulab.lessons.inputs.normalize_equalize.experiment import KEYS, PictureVersions
from regulab.lessons.kit.lesson import LessonFigure, Measured, Values
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme

TICKS = [0, 0.5, 1]


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: PictureVersions = measured.evidence
    values = measured.values
    return [
        LessonFigure(
            name="grey",
            figure=_grey_figure(evidence.grey, values, theme),
            caption=(
                "Top: the picture and its versions. Middle: histograms (bars, scaled to the highest) and cumulative"
                " curves (lines); the dotted line is that of evenly spread levels. Bottom: what each level of the"
                " original became; a straight line keeps relative levels, a cloud has lost even their order."
            ),
            alternative=(
                "Four versions of a grey picture with histograms, cumulative curves and curves of levels. Half of the"
                f" ratios of differences change by at least: normalized {values['ratio_normalized']:.1g} %, equalized"
                f" {values['ratio_equalized']:.0f} %, contrast-limited {values['ratio_clahe']:.0f} %. Distance of the"
                f" cumulative curve from even: {values['uneven_normalized']:.0f} %,"
                f" {values['uneven_equalized']:.1f} % and {values['uneven_clahe']:.0f} %."
            ),
        ),
        LessonFigure(
            name="colour",
            figure=_colour_figure(evidence, theme),
            caption=(
                "A colour picture normalized, equalized by its luminance, and equalized channel by channel; bottom"
                " right, how much of the colour (pixels weighted by chroma) turned its hue by no more than so much."
            ),
            alternative=(
                "Five versions of a colour picture, and cumulative curves of the turn of hues: on average"
                f" {values['hue_luminance']:.1g}° with equalized luminance, {values['hue_channels']:.1f}° with each"
                " channel equalized."
            ),
        ),
    ]


def _grey_figure(shown: Mapping[str, Levels], values: Values, theme: Theme) -> Figure:
    original = next(iter(shown.values()))
    tall = float(np.clip(2.3 * original.shape[0] / original.shape[1], 0.8, 3.2))  # inches, a quarter as wide
    figure = Figure(figsize=(10, tall + 5.4), layout="constrained")
    panels = figure.subplots(3, len(shown), gridspec_kw={"height_ratios": [tall, 2, 2]})
    chosen = np.random.default_rng(0).permutation(original.size)[:20_000]
    for index, (name, x) in enumerate(shown.items()):
        image, histogram, curve = panels[:, index]
        colour = theme.baseline if index == 0 else theme.colours[index - 1]
        _show(image, x, name)
        _histogram(histogram, x, colour, theme)
        curve.plot([0, 1], [0, 1], color=theme.soft, linewidth=1, linestyle=":")
        curve.scatter(original.flat[chosen], x.flat[chosen], s=3, color=colour, linewidths=0, rasterized=True)
        curve.set(xlim=(0, 1), ylim=(0, 1), xlabel="level before", xticks=TICKS, yticks=TICKS)
        if name in KEYS:
            key = KEYS[name]
            words = f"correlation {values[f'linear_{key}']:.4f}\nof ranks {values[f'rank_{key}']:.4f}"
            curve.set_title(words, fontsize=10.5)
            histogram.set_yticklabels([])
            curve.set_yticklabels([])
    panels[1, 0].set_ylabel("share of pixels\nat or below")
    panels[2, 0].set_ylabel("level after")
    return figure


def _show(axes: Axes, x: Levels, title: str) -> None:
    axes.imshow(x, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    axes.set_title(title)
    axes.set_axis_off()


def _histogram(axes: Axes, x: Levels, colour: str, theme: Theme) -> None:
    """Bars of 128 bins, scaled to the highest, behind the cumulative curve."""
    counts, edges = np.histogram(x, bins=128, range=(0, 1))
    axes.bar(
        edges[:-1], counts / counts.max(), np.diff(edges), align="edge", color=colour, alpha=0.45, linewidth=0
    )
    axes.plot([0, 1], [0, 1], color=theme.soft, linewidth=1, linestyle=":")
    levels, counts = np.unique(np.round(x, 4), return_counts=True)
    share = counts.cumsum() / x.size
    axes.plot(np.r_[0, levels, 1], np.r_[0, share, 1], color=colour, drawstyle="steps-post")
    axes.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="level", xticks=TICKS, yticks=TICKS)


def _colour_figure(evidence: PictureVersions, theme: Theme) -> Figure:
    height, width = next(iter(evidence.colour.values())).shape[:2]
    tall = float(np.clip(3.2 * height / width, 1.8, 4))  # inches, a third as wide
    figure = Figure(figsize=(10, 2 * tall + 1.2), layout="constrained")
    panels = figure.subplots(2, 3).flat
    for axes, (name, x) in zip(panels, evidence.colour.items(), strict=False):
        _show(axes, np.clip(x, 0, 1), name)
    axes = panels[5]
    for index, (name, (degrees, share)) in enumerate(evidence.turned.items()):
        axes.plot(
            np.r_[0, degrees, 180],
            100 * np.r_[0, share, 1],
            color=theme.colours[index],
            linestyle="-" if index == 0 else (0, DASHES[index - 1]),
            label=name,
        )
    axes.set(xlim=(0, 180), ylim=(0, 105), xticks=range(0, 181, 45), xlabel="turn of the hue, degrees")
    axes.set_title("colour that turned by no more, %")
    axes.legend(loc="lower right", fontsize=10)
    return figure
