"""The figures of the lesson ``weight-decay``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.lessons.penalties.weight_decay.experiment import DecayCurves
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: DecayCurves = measured.evidence
    v = measured.values
    return [
        LessonFigure(
            name="brackets",
            figure=_brackets(evidence, theme),
            caption=(
                "Sigmoid units. Left: the error when the lecture's Δw (here with η on both terms) is"
                " subtracted and when it is added. Right: the length of the weights under its rule as"
                " bracketed, under the gradient, and under the gradient with λ/η for λ."
            ),
            alternative=(
                f"E is {v['start_error']:.4g} at the start, {v['subtracted_error']:.4g} after subtracting"
                f" one step, {v['added_error']:.4g} after adding it. As bracketed the weights come to rest"
                f" at a length of {v['literal_norm']:.3g}; at the minimum of E it is"
                f" {v['minimum_norm']:.3g}."
            ),
        ),
        LessonFigure(
            name="optimizers",
            figure=_optimizer_figure(evidence, theme),
            caption=(
                "How far the weights are from those that the penalty gives, step by step: with torch's"
                " weight_decay argument (left) and with decay beside the step (right; for Adam that is"
                " AdamW). Around 10⁻¹⁶ is rounding."
            ),
            alternative=(
                "Relative distances after training. weight_decay argument: "
                + ", ".join(f"{name} {v[f'argument_{key}']:.1g}" for name, key in evidence.keys.items())
                + ". Decoupled decay: "
                + ", ".join(f"{name} {v[f'decoupled_{key}']:.1g}" for name, key in evidence.keys.items())
                + "."
            ),
        ),
        LessonFigure(
            name="before-norm",
            figure=_before_norm_figure(evidence, theme),
            caption=(
                "Weights before batch norm. Left and middle: their length and the effective learning rate"
                " over training, by λ; thin lines are seeds. Right: a training with decay, one without it"
                " whose rate grows as the equation says, and one with neither."
            ),
            alternative="; ".join(
                f"λ = {decay:g}: ‖w‖ {v[f'norm_{decay:g}']:.3g}, effective rate {v[f'rate_{decay:g}']:.2g}"
                for decay in evidence.decays
            )
            + f". Losses with decay and with a growing rate differ by {v['replaced']:.1g} at most.",
        ),
    ]


def _styles(theme: Theme) -> list[dict[str, Any]]:
    colours = (theme.baseline, *theme.colours)
    dashes: Sequence[Any] = ("-", *((0, dash) for dash in DASHES))
    return [{"color": c, "linestyle": d} for c, d in zip(colours, dashes, strict=False)]


def _lines(axes: Axes, lines: Mapping[str, Sequence[float]], theme: Theme, floor: float = 0.0) -> None:
    for (label, values), style in zip(lines.items(), _styles(theme), strict=False):
        axes.plot(np.maximum(values, floor), label=label, **style)


def _brackets(evidence: DecayCurves, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _lines(left, evidence.errors, theme)
    left.set(xlabel="step", ylabel="E", title="The sign: subtract or add")
    left.set_ylim(0, None)
    _lines(right, evidence.norms, theme)
    right.set(xlabel="step", ylabel="‖w‖", title="The brackets: what η multiplies")
    right.set_xscale("symlog", linthresh=1)
    right.set_ylim(0, None)
    for axes in (left, right):
        axes.legend()
    return figure


def _optimizer_figure(evidence: DecayCurves, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, lines, title in (
        (left, evidence.argument, "torch's weight_decay argument"),
        (right, evidence.decoupled, "decay beside the step"),
    ):
        _lines(axes, lines, theme, floor=1e-17)
        axes.set(xlabel="step", title=title, yscale="log", ylim=(5e-18, 1))
    left.set_ylabel("distance from the penalty's\nweights, ‖Δw‖/‖w‖")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _before_norm_figure(evidence: DecayCurves, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for axes, table, title in (
        (left, evidence.weight_norms, "‖w‖ before norms"),
        (middle, evidence.rates, "effective learning rate η/‖w‖²"),
    ):
        for decay, runs, style in zip(evidence.decays, table, _styles(theme), strict=False):
            axes.plot(runs.T, color=style["color"], linewidth=0.7, alpha=0.6)
            axes.plot(runs.mean(0), label=f"λ = {decay:g}", **style)
        axes.set(xlabel="epoch", title=title, ylim=(0, None))
    left.legend(loc="lower right")
    _lines(right, evidence.losses, theme)
    right.set(xlabel="step", title="training loss (nats)", yscale="log")
    right.legend()
    return figure
