"""The figures of the lesson ``covariate-shift``."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from regulab.lessons.batch_norm.covariate_shift.channel_scales import PLACES, SCALES, Scales
from regulab.lessons.batch_norm.covariate_shift.experiment import (
    EPOCHS,
    NETS,
    RATES,
    TARGETS,
    WatchedNet,
    WatchedNets,
    shift,
    steps_text,
)
from regulab.lessons.kit.bands import BAND, plot_band
from regulab.lessons.kit.lesson import LessonFigure, Measured, Values
from regulab.reporting.theme import Theme


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: WatchedNets = measured.evidence
    return [
        _draw_bands(evidence, theme),
        _draw_speed(evidence, measured.values, theme),
        _draw_scales(evidence.scales, theme),
    ]


def _colours(theme: Theme) -> dict[str, str]:
    return dict(zip(NETS, (theme.baseline, theme.colours[0], theme.colours[1]), strict=True))


def _draw_bands(evidence: WatchedNets, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    places = figure.subplots(2, len(NETS), sharex=True, sharey="col")
    steps = np.arange(1, EPOCHS + 1) * evidence.per_epoch
    for column, (norm, name) in enumerate(NETS.items()):
        colour, net = _colours(theme)[norm], evidence.same[norm]
        for row, channel in enumerate(_channels(net)):
            axes, q = places[row, column], net.quantiles[0, :, channel].T
            axes.fill_between(steps, q[0], q[4], color=colour, alpha=0.18, linewidth=0)
            axes.fill_between(steps, q[1], q[3], color=colour, alpha=0.32, linewidth=0)
            axes.plot(steps, q[2], color=colour)
            axes.set_title(f"{name}\nchannel {channel}" if row == 0 else f"channel {channel}")
        places[1, column].set_xlabel("step")
    for axes in places[:, 0]:
        axes.set_ylabel("what enters ReLU")
    figure.suptitle(f"The inputs of one layer over training (learning rate {RATES[0]:g})")
    return LessonFigure(
        name="bands",
        figure=figure,
        caption=(
            "Line: median; dark band: 25 to 75 %; light band: 5 to 95 % of the values of a channel, the one that"
            " moves most (top) and the one that moves least (bottom); fourth of six layers, one seed. The vertical"
            " scales of the nets differ."
        ),
        alternative=(
            "Quantile bands of two channels over the training steps, for a net without a norm, with batch norm, and"
            " with noise behind batch norm; the mean shift of each is among the numbers."
        ),
    )


def _channels(net: WatchedNet) -> tuple[int, int]:
    """The channels of the first seed that move most and least from probe to probe, in deviations."""
    quantiles, deviation = net.quantiles[0], net.deviation[0]
    moved = [
        float(shift(quantiles[:, [c]], deviation[:, [c]]).mean()) if deviation[:, c].min() > 1e-6 else np.nan
        for c in range(quantiles.shape[1])
    ]
    return int(np.nanargmax(moved)), int(np.nanargmin(moved))


def _draw_speed(evidence: WatchedNets, values: Values, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 4.6))
    figure.set_layout_engine("constrained", w_pad=0.12)
    moves, loss = figure.subplots(1, 2)
    steps = np.arange(1, EPOCHS + 1) * evidence.per_epoch
    dashes = (None, (5, 2), (2, 1.5))
    for (norm, name), dash in zip(NETS.items(), dashes, strict=True):
        same, best, colour = evidence.same[norm], evidence.best[norm], _colours(theme)[norm]
        plot_band(moves, steps[1:], shift(same.quantiles, same.deviation), colour, name, dashes=dash)
        plot_band(loss, steps, best.loss, colour, name, dashes=dash)
    for target in TARGETS:
        loss.axhline(target, color=theme.soft, linewidth=1)
        loss.text(steps[0], target * 0.93, f"{target:g}", ha="left", va="top", color=theme.soft)
    moves.set(yscale="log", title=f"Shift since the last probe (rate {RATES[0]:g})", ylabel="deviations")
    loss.set(yscale="log", title="Training loss (each at its better rate)", ylabel="cross-entropy (nats)")
    for axes in (moves, loss):
        axes.set_xlabel("step")
    handles, labels = loss.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, handlelength=3.4)
    return LessonFigure(
        name="speed",
        figure=figure,
        caption=f"{BAND[0].upper()}{BAND[1:]}. The thin lines are the losses to which steps are counted.",
        alternative="Shift and training loss over the steps. "
        + "; ".join(
            f"{name}: shift {values[f'shift_{norm}']:.2f} deviations, "
            + ", ".join(f"{steps_text(values, norm, target)} to a loss of {target:g}" for target in TARGETS)
            for norm, name in NETS.items()
        )
        + ".",
    )


def _draw_scales(scales: Scales, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 4.1), layout="constrained")
    places = figure.subplots(1, len(PLACES), sharey=True)
    extent = (-SCALES[0], SCALES[0], -SCALES[1], SCALES[1])
    image = None
    for axes, place in zip(places, PLACES, strict=True):
        image = axes.imshow(
            scales.maps[place],
            origin="lower",
            extent=extent,
            aspect="auto",
            cmap=theme.diverging,
            vmin=0,
            vmax=1,
        )
        for label, marker in ((0, "o"), (1, "^")):
            chosen = scales.points[scales.labels == label][:60]
            axes.plot(
                *chosen.T, marker, color="black", markerfacecolor="white", markersize=5, linestyle="none"
            )
        name = "no norm" if place == "none" else f"norm {place}"
        axes.set_title(f"{name}\n{scales.accuracy[place].mean():.0f} % right")
        axes.set(xlabel="first channel", xlim=extent[:2], ylim=extent[2:])
        axes.grid(visible=False)
    places[0].set_ylabel("second channel")
    assert image is not None
    figure.colorbar(image, ax=places, label="probability of class 1")
    return LessonFigure(
        name="scales",
        figure=figure,
        caption=(
            f"What networks make of channels at ±{SCALES[0]:g} and ±{SCALES[1]:g}: probability of class 1 (triangles:"
            " the channels have the same sign) for one seed; accuracy on fresh points, mean over seeds."
        ),
        alternative="Maps of the predicted class over both channels. "
        + "; ".join(f"norm {place}: {scales.accuracy[place].mean():.0f} % right" for place in PLACES)
        + ".",
    )
