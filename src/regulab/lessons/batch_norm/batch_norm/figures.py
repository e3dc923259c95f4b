"""The figures of the lesson ``batch-norm``."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from regulab.lessons.batch_norm.batch_norm.experiment import StepsAndBiases, fixed
from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.reporting.theme import Theme


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: StepsAndBiases = measured.evidence
    return [_draw_steps(evidence, theme), _draw_bias(evidence, theme)]


def _draw_steps(evidence: StepsAndBiases, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 4.2))
    figure.set_layout_engine("constrained", w_pad=0.14)
    places = figure.subplots(1, len(evidence.steps), sharex=True, sharey=True)
    everything = np.concatenate([values for _, values in evidence.steps])
    low, high = np.quantile(everything, [0.001, 0.999])
    edges = np.linspace(low, high, 61)
    operations = ("less\nμ", "divide by\n√(σ² + ε)", "times γ,\nplus β")
    for index, (axes, (label, values)) in enumerate(zip(places, evidence.steps, strict=True)):
        shares = 100 * np.histogram(values, edges)[0] / values.size
        axes.stairs(shares, edges, fill=True, color=theme.colours[index])
        axes.axvline(values.mean(), color=theme.ink, linewidth=1.4)
        axes.set_title(
            f"{label}\nmean {fixed(values.mean(), 2)}\ndeviation {fixed(values.std(), 2)}", fontsize=12
        )
        axes.set_xlabel("value")
    for axes, operation in zip(places, operations, strict=False):
        axes.annotate(
            "",
            (1.12, 0.55),
            (0.86, 0.55),
            xycoords="axes fraction",
            arrowprops={"arrowstyle": "->", "color": theme.ink},
        )
        axes.text(
            0.97,
            0.6,
            operation,
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            fontsize=10.5,
        )
    places[0].set_ylabel("share of values (%)")
    size = evidence.steps[0][1].size
    figure.suptitle(f"Channel {evidence.channel} through batch normalization ({size:,} values)")
    steps = "; ".join(
        f"{label}: mean {fixed(v.mean(), 2)}, deviation {fixed(v.std(), 2)}" for label, v in evidence.steps
    )
    return LessonFigure(
        name="steps",
        figure=figure,
        caption=(
            "One channel over a mini-batch after each line of Algorithm 1, on the same scales; the vertical line marks"
            " the mean."
        ),
        alternative=f"Four histograms of one channel. {steps}.",
    )


def _draw_bias(evidence: StepsAndBiases, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 4.2))
    figure.set_layout_engine("constrained", w_pad=0.12)
    *places, bars = figure.subplots(1, 3)
    for index, (axes, (name, bias)) in enumerate(zip(places, evidence.biases.items(), strict=True)):
        step = max(1, bias.without.size // 1500)
        axes.axline((0, 0), slope=1, color=theme.soft, linewidth=1)
        axes.plot(bias.without[::step], bias.output[::step], ".", color=theme.colours[index], markersize=4)
        axes.set(title=name, xlabel="output without the bias")
    places[0].set_ylabel("output with the bias")
    floor = 1e-18  # a gradient of exactly 0 has no place on a logarithmic scale
    for index, bias in enumerate(evidence.biases.values()):
        heights = [bias.weight_gradient, max(bias.bias_gradient, floor)]
        bars.bar(np.array([0, 1]) + 0.2 * (2 * index - 1), heights, 0.36, color=theme.colours[index])
    bars.set(yscale="log", title="Norm of the gradient", ylabel="norm", ylim=(floor, None))
    bars.set_xticks([0, 1], ["weights", "bias"])
    bars.grid(axis="x", visible=False)
    handles = [Patch(color=theme.colours[index]) for index in range(len(evidence.biases))]
    figure.legend(handles, list(evidence.biases), loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle("A bias of −3 to 3 before the norm, and before none")
    ratios = "; ".join(f"{name}: {bias.ratio:.1g}" for name, bias in evidence.biases.items())
    return LessonFigure(
        name="bias",
        figure=figure,
        caption=(
            "Left and middle: each dot is a value of the output with the bias against the same value without it; on"
            " the diagonal nothing changes. Right: the gradients of weights and bias, on a logarithmic scale."
        ),
        alternative=f"Outputs with and without a bias, and gradients. Bias's gradient over the weights': {ratios}.",
    )
