"""The figures of the lesson ``dropout``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.lessons.training.dropout.effects import DropoutEffects
from regulab.lessons.training.dropout.masks import Floats
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme
from regulab.statistics.intervals import PERCENT, POINTS, UNIT, Bounds, mean_interval


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: DropoutEffects = measured.evidence
    return [
        _masks_picture(evidence, theme),
        _expectation_picture(evidence, theme, measured.values),
        _effect_picture(evidence, theme),
    ]


def mosaic(maps: NDArray[np.generic], fill: float) -> NDArray[np.float64]:
    """Maps ``(C, H, W)`` as one image, in rows of about √C, with a line of ``fill`` between them."""
    count, height, width = maps.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    image = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), fill)
    for index, channel_map in enumerate(maps):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        image[top : top + height, left : left + width] = channel_map
    return image


def _masks_picture(evidence: DropoutEffects, theme: Theme) -> LessonFigure:
    masks = evidence.masks
    figure = Figure(figsize=(10, 6.6), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06, hspace=0.06)  # type: ignore[union-attr, call-arg]
    places = figure.subplots(2, 3)
    places[0, 0].imshow(masks.image.squeeze(), cmap="gray", vmin=0, vmax=1)
    places[0, 0].set_title("image")
    highest = float(masks.draws.max())
    panels = [
        (places[0, 1], masks.activations, "inference: all activations"),
        (places[0, 2], masks.mean, "training: mean over the draws"),
        *(
            (axes, maps, f"training: draw {number}")
            for number, (axes, maps) in enumerate(zip(places[1], masks.draws, strict=True), start=1)
        ),
    ]
    for axes, maps, title in panels:
        shown = axes.imshow(mosaic(maps, np.nan), cmap=theme.sequential, vmin=0, vmax=highest)
        axes.set_title(title)
    for axes, dropped in zip(places[1], masks.dropped, strict=True):
        axes.imshow(mosaic(np.where(dropped, 1.0, np.nan), np.nan), cmap=ListedColormap([theme.colours[1]]))
        axes.set_xlabel(f"{100 * dropped.mean():.0f} % dropped")
    for axes in places.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[:].set(visible=axes is places[0, 0], color=theme.soft)
    figure.colorbar(shown, ax=places[:, 2], label="activation", shrink=0.8)
    channels, height, width = masks.activations.shape
    shares = ", ".join(f"{100 * dropped.mean():.0f} %" for dropped in masks.dropped)
    return LessonFigure(
        name="masks",
        figure=figure,
        caption=(
            f"The {channels} maps of {height} × {width} after the first block. Orange: dropped in this draw, at rate"
            f" {evidence.rate:g}, element by element; the others are divided by {1 - evidence.rate:g} and so are"
            " brighter than in inference. The mean over many draws is the picture of inference again."
        ),
        alternative=(
            f"An image, its {channels} feature maps in inference, the mean of the dropped maps over many draws, and"
            f" three draws in which {shares} of the elements are dropped at scattered places."
        ),
    )


def _expectation_picture(evidence: DropoutEffects, theme: Theme, values: Mapping[str, float]) -> LessonFigure:
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for axes, expectation, colour, what in (
        (left, evidence.layer, theme.colours[0], "activation"),
        (middle, evidence.network, theme.colours[1], "logit"),
    ):
        ends = [
            min(expectation.inference.min(), expectation.mean.min()),
            max(expectation.inference.max(), expectation.mean.max()),
        ]
        axes.plot(ends, ends, color=theme.ink, linewidth=1, label="equal")
        axes.plot(expectation.inference, expectation.mean, ".", color=colour, markersize=4, alpha=0.6)
        axes.set_xlabel(f"{what} in inference")
        axes.set_ylabel("mean over draws")
        axes.legend(loc="upper left")
    left.set_title("One dropped layer")
    middle.set_title("The network's output")
    edges = np.linspace(-12, 12, 61)
    for expectation, colour, label in (
        (evidence.layer, theme.colours[0], "layer"),
        (evidence.network, theme.colours[1], "logits"),
    ):
        right.hist(
            np.clip(expectation.off, -11.99, 11.99), edges, density=True, color=colour, alpha=0.6, label=label
        )
    right.plot(
        edges, np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi), color=theme.ink, linewidth=1.4, label="chance"
    )
    right.set_xlabel("distance (standard errors)")
    right.set_ylabel("density")
    right.set_title("How far off")
    right.legend(loc="upper left", fontsize=10)
    return LessonFigure(
        name="expectation",
        figure=figure,
        caption=(
            "Left and middle: means over masks against inference without masks; on the line they are equal. Right: the"
            " distances in standard errors of the mean; where the expectation is kept they follow the curve of chance"
            " (values beyond ±12 stand at the edge)."
        ),
        alternative=(
            f"Of one layer the means over draws lie within {values['layer_off']:.1f} standard errors of the"
            " activations."
            f" Of the logits {values['logits_strayed']:.0f} % lie more than 3 standard errors from inference."
        ),
    )


def _effect_picture(evidence: DropoutEffects, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 7.4), layout="constrained")
    places = figure.subplots(2, 2)
    _draw_accuracies(places[0, 0], evidence, theme)
    gaps = {rate: evidence.train[rate] - evidence.test[rate] for rate in evidence.test}
    lost = (evidence.deletion, POINTS, "accuracy lost (points)")
    alike = (evidence.correlation, UNIT, "mean |correlation|")
    for axes, (results, bounds, label), colour, title in (
        (places[0, 1], (gaps, POINTS, "gap (points)"), theme.colours[2], "Gap: training minus test"),
        (places[1, 0], lost, theme.colours[3], "Deleting one channel"),
        (places[1, 1], alike, theme.colours[4], "Channels of a block"),
    ):
        _against_rate(axes, results, colour, (1, 0), "", bounds)
        costly = [rate for rate, verdict in evidence.verdicts.items() if verdict in ("worse", "diverged")]
        axes.plot(
            costly,
            [results[rate].mean() for rate in costly],
            "o",
            color=colour,
            markerfacecolor=theme.paper,
            label="test accuracy worse: not judged" if costly else None,
        )
        axes.set_ylabel(label)
        axes.set_title(title)
        if costly:
            axes.legend(loc="best", fontsize=10)
    for axes in places.flat:
        axes.set_xlabel("dropout rate")
    numbers = "; ".join(
        f"rate {rate:g}: test {evidence.test[rate].mean():.1f} %, gap {gaps[rate].mean():.1f} points, deleting a"
        f" channel {evidence.deletion[rate].mean():.2f} points, correlation {evidence.correlation[rate].mean():.2f}"
        for rate in gaps
    )
    return LessonFigure(
        name="effect",
        figure=figure,
        caption=(
            "Against the dropout rate: means over the seeds with 95 % intervals; small dots are single seeds. Below,"
            " the two measures of co-adaptation. Open points: test accuracy is worse than at rate 0 there, so gap and"
            " co-adaptation are not judged."
        ),
        alternative=f"Accuracy, gap and co-adaptation against the dropout rate: {numbers}.",
    )


def _draw_accuracies(axes: Axes, evidence: DropoutEffects, theme: Theme) -> None:
    _against_rate(axes, evidence.train, theme.colours[1], DASHES[0], "training", PERCENT)
    _against_rate(axes, evidence.test, theme.colours[0], (1, 0), "test", PERCENT)
    axes.set_ylabel("accuracy (%)")
    axes.set_title("Accuracy, and the verdicts on test accuracy")
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylim(-34, 104)
    for rate, verdict in evidence.verdicts.items():
        if rate:
            axes.text(rate, -31, verdict, ha="center", va="bottom", fontsize=10, rotation=40)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 0.22))


def _against_rate(
    axes: Axes,
    results: Mapping[float, Floats],
    colour: str,
    dashes: tuple[float, ...],
    label: str,
    bounds: Bounds,
) -> None:
    rates = np.array(list(results))
    means = np.array([values.mean() for values in results.values()])
    intervals = [
        mean_interval(values, bounds=bounds) or (mean, mean)
        for values, mean in zip(results.values(), means, strict=True)
    ]
    low, high = np.array(intervals).T
    for rate, values in results.items():
        axes.plot(np.full(len(values), rate), values, ".", color=colour, markersize=4, alpha=0.45)
    axes.fill_between(rates, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(rates, means, color=colour, marker="o", dashes=dashes, label=label)
