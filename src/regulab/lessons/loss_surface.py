"""The loss over two weights: an elongated valley for features in their own units, a bowl once they are normalized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from regulab.lessons.bowl import MOST_STEPS, TOLERANCE, Bowl, largest_stable_rate, predicted_steps
from regulab.lessons.laboratory import Laboratory
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, Number, Picture, Table, Values, graded
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme

Array = NDArray[np.floating[Any]]

FEATURES = ("bmi", "s5")  # of the diabetes data: the two that predict it best, at scales 8 apart
NAMES = {"bmi": "body-mass index", "s5": "log triglycerides"}
ROUND, RATIO = 10.0, 10.0  # κ of a bowl; how many times less than the valley's
FEWER = 5.0
RATE_ERROR = 0.01
SIMILAR, MOST_PAIRS = 3.0, 0.9
TEXT = r"""
Two features, one target, no bias (features and target have their mean taken off), squared error over $m$ patients:

$$E(w) = \frac{1}{2m}\sum_{i=1}^{m}\bigl(w_1 x_{i1} + w_2 x_{i2} - y_i\bigr)^2
= E^{*} + \tfrac12\,(w - w^{*})^\top H\,(w - w^{*}), \qquad H = \frac1m X^\top X .$$

The Hessian $H$ is the same everywhere, so the surface is exactly a bowl whose level lines are ellipses. Its
eigenvalues $\lambda_{\max} \ge \lambda_{\min}$ are the curvatures across and along the valley; the ellipse is
$\sqrt{\kappa}$ times longer than wide, with the **condition number** $\kappa = \lambda_{\max}/\lambda_{\min}$.

Gradient descent $w \leftarrow w - \eta H (w - w^{*})$ multiplies the error along an eigenvector by $1 -
\eta\lambda$ at each step. It converges only while every such factor is between −1 and 1, and it is fastest where
the two outer ones are equally far from zero:

$$\eta < \frac{2}{\lambda_{\max}}, \qquad \eta_{\mathrm{best}} = \frac{2}{\lambda_{\max} + \lambda_{\min}}, \qquad
\frac{E_{t+1} - E^{*}}{E_t - E^{*}} \le \left(\frac{\kappa - 1}{\kappa + 1}\right)^{2} .$$

So at its best rate $E - E^{*}$ falls to a share $\varepsilon$ of its start in at most

$$t = \frac{\ln(1/\varepsilon)}{2\ln\frac{\kappa + 1}{\kappa - 1}} \approx \frac{\kappa}{4}\ln\frac1\varepsilon$$

steps, rounded up: **proportional to κ**. Dividing a feature by its standard deviation $\sigma_j$ changes no
prediction, since $w_j x_j = (w_j \sigma_j)(x_j/\sigma_j)$; it changes the surface that the optimizer walks on.
What normalized features leave of $\kappa$ comes from their correlation $r$ alone:
$\kappa = (1 + \lvert r\rvert)/(1 - \lvert r\rvert)$.

It also makes the two weights comparable: $w_j\sigma_j$ is what a feature one deviation above its mean adds.
Comparable is not equal: a useless feature has a small weight at any scale.
"""


def centred(values: Array) -> Array:
    return values - values.mean(0)


def standardized(values: Array) -> Array:
    """Mean 0 and (biased) variance 1 in each column."""
    return centred(values) / values.std(0)


def weight_ratio(w: Array) -> float:
    """The larger |w| over the smaller."""
    sizes = np.abs(w)
    return float(sizes.max() / sizes.min())


@dataclass(frozen=True)
class Side:
    """One way to give the features, and what was measured with it."""

    label: str
    bowl: Bowl
    path: Array  # at the best rate
    stable: float  # the largest stable rate, by bisection
    rates: Array
    steps: Array  # until converged at each of the rates; nan where not

    @classmethod
    def measured(cls, label: str, bowl: Bowl) -> Side:
        stable = largest_stable_rate(bowl)
        rates = np.concatenate([stable * np.geomspace(0.02, 0.9, 24), stable * np.linspace(0.91, 0.999, 16)])
        return cls(
            label,
            bowl,
            path=bowl.descend(bowl.best_rate, MOST_STEPS, TOLERANCE),
            stable=stable,
            rates=rates,
            steps=np.array([bowl.steps(rate) for rate in rates]),
        )


def _measure(_laboratory: Laboratory) -> Measured:
    data = load_diabetes(scaled=False)
    columns = [data.feature_names.index(name) for name in FEATURES]
    X, y = data.data[:, columns], standardized(data.target)
    sides = [
        Side.measured("in their own units", Bowl.of(centred(X), y)),
        Side.measured("normalized", Bowl.of(standardized(X), y)),
    ]
    own, norm = sides
    pairs = [data.data[:, list(pair)] for pair in combinations(range(data.data.shape[1]), 2)]
    own_ratios = np.array([weight_ratio(Bowl.of(centred(pair), y).minimum) for pair in pairs])
    norm_ratios = np.array([weight_ratio(Bowl.of(standardized(pair), y).minimum) for pair in pairs])
    numbers: dict[str, Number] = {}
    for key, side in (("own", own), ("normalized", norm)):
        high = side.bowl.curvatures[1]
        w = side.bowl.minimum
        numbers |= {
            f"{key}_condition": Number(value=side.bowl.condition, label=f"κ of the Hessian, {side.label}"),
            f"{key}_rate_theory": Number(value=2 / high, label=f"2/λ_max, {side.label}", digits=4),
            f"{key}_rate": Number(
                value=side.stable,
                label=f"largest stable learning rate found by bisection, {side.label}",
                digits=4,
            ),
            f"{key}_steps_theory": Number(
                value=predicted_steps(side.bowl.condition),
                label=f"bound on the steps by theory, before rounding up, {side.label}",
            ),
            f"{key}_steps": Number(value=len(side.path) - 1, label=f"steps that it took, {side.label}"),
            f"{key}_weight_1": Number(
                value=w[0], label=f"learned weight of {NAMES[FEATURES[0]]}, {side.label}"
            ),
            f"{key}_weight_2": Number(
                value=w[1], label=f"learned weight of {NAMES[FEATURES[1]]}, {side.label}"
            ),
            f"{key}_weight_ratio": Number(
                value=weight_ratio(w), label=f"larger of these weights over the smaller, {side.label}"
            ),
        }
    numbers |= {
        "own_median_ratio": Number(
            value=float(np.median(own_ratios)),
            label=f"the same ratio, median over all {len(pairs)} pairs of the ten features, in their own units",
        ),
        "normalized_median_ratio": Number(value=float(np.median(norm_ratios)), label="the same, normalized"),
        "own_similar": Number(
            value=100 * float((own_ratios <= SIMILAR).mean()),
            label=f"pairs with a ratio up to {SIMILAR:g}, in their own units",
            unit="%",
        ),
        "normalized_similar": Number(
            value=100 * float((norm_ratios <= SIMILAR).mean()), label="the same, normalized", unit="%"
        ),
    }
    return Measured(
        numbers=numbers,
        evidence=sides,
        conditions=(
            f"scikit-learn's diabetes data, {len(X)} patients: disease progression (mean 0, deviation 1)"
            f" from {NAMES[FEATURES[0]]} (deviation {X[:, 0].std():.3g}) and {NAMES[FEATURES[1]]}"
            f" (deviation {X[:, 1].std():.3g}), by full-batch gradient descent from (0, 0), float64, until"
            f" E − E* is {TOLERANCE:g} of its start."
        ),
        findings=_findings({key: number.value for key, number in numbers.items()}),
        tables=[_pairs_table()],
    )


def _findings(v: Values) -> str:
    few = v["normalized_similar"] < 100 * MOST_PAIRS
    return (
        f"Dividing each feature by its deviation took κ from {v['own_condition']:.3g} to"
        f" {v['normalized_condition']:.3g}, the largest stable learning rate from {v['own_rate']:.3g} to"
        f" {v['normalized_rate']:.3g} (2/λ_max says {v['own_rate_theory']:.3g} and"
        f" {v['normalized_rate_theory']:.3g}) and the steps at the best rate from {v['own_steps']:.0f} to"
        f" {v['normalized_steps']:.0f}. Of these two weights the larger was {v['own_weight_ratio']:.2g}"
        f" times the smaller before and {v['normalized_weight_ratio']:.2g} times after. Over all pairs of"
        " the ten features"
        + (
            f" only {v['normalized_similar']:.0f} % come within a factor {SIMILAR:g} after normalizing: a"
            " weight also says how useful its feature is, and normalizing leaves that as it is."
            if few
            else f" {v['normalized_similar']:.0f} % come within a factor {SIMILAR:g} after normalizing."
        )
    )


def _pairs_table() -> Table:
    """Other pairs of real features: what their scales alone do to κ and to the largest stable rate."""
    rows = []
    chosen: Sequence[tuple[str, Any, tuple[str, str]]] = (
        ("diabetes", load_diabetes(scaled=False), FEATURES),
        ("wine", load_wine(), ("alcohol", "proline")),
        ("breast cancer", load_breast_cancer(), ("mean area", "mean smoothness")),
    )
    for name, data, pair in chosen:
        X = data.data[:, [list(data.feature_names).index(feature) for feature in pair]]
        y = standardized(data.target.astype(np.float64))
        for label, inputs in (("own units", centred(X)), ("normalized", standardized(X))):
            bowl = Bowl.of(inputs, y)
            deviations = inputs.std(0)
            rows.append(
                [
                    f"{name}: {pair[0]}, {pair[1]}",
                    label,
                    f"{deviations.max() / deviations.min():,.3g}",
                    f"{bowl.condition:,.3g}",
                    f"{2 / bowl.curvatures[1]:.4g}",
                    f"{largest_stable_rate(bowl):.4g}",
                    f"{predicted_steps(bowl.condition):,.3g}",
                ]
            )
    return Table(
        title="The same for other pairs of real features (for wine and breast cancer the target is the class)",
        columns=[
            "features",
            "given",
            "ratio of deviations",
            "κ",
            "2/λ_max",
            "largest stable rate",
            "bound on the steps",
        ],
        rows=rows,
    )


def _draw(measured: Measured, theme: Theme) -> list[Picture]:
    sides: Sequence[Side] = measured.evidence
    v = measured.values
    return [
        Picture(
            name="surfaces",
            figure=_surfaces(sides, theme),
            caption=(
                "Above, the loss over the two weights; below, the same from above, with equal scales on"
                " both axes and the same levels: the path of gradient descent at the best learning rate"
                " of each, from the square to the cross (the minimum)."
            ),
            alternative=(
                f"Loss surfaces and contours. In their own units κ is {v['own_condition']:.3g} and the"
                f" path takes {v['own_steps']:.0f} steps; normalized, κ is {v['normalized_condition']:.3g}"
                f" and the path takes {v['normalized_steps']:.0f}."
            ),
        ),
        Picture(
            name="speed",
            figure=_speed(sides, theme),
            caption=(
                "Left: how far the loss is above its minimum, step by step, each at its best rate. Right:"
                " the steps that each learning rate takes; dotted verticals mark 2/λ_max, beyond which"
                " descent diverges."
            ),
            alternative=(
                "Steps to converge against the learning rate. Largest stable rate by bisection:"
                f" {v['own_rate']:.3g} in their own units, {v['normalized_rate']:.3g} normalized; 2/λ_max:"
                f" {v['own_rate_theory']:.3g} and {v['normalized_rate_theory']:.3g}."
            ),
        ),
    ]


def _surfaces(sides: Sequence[Side], theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 9), layout="constrained")
    half = 1.15 * max(float(np.abs(side.bowl.minimum).max()) for side in sides)
    levels = np.geomspace(1e-3, 10, 13)
    filled: Any = None
    for column, side in enumerate(sides):
        first, second = (np.linspace(centre - half, centre + half, 161) for centre in side.bowl.minimum)
        grid = np.stack(np.meshgrid(first, second), axis=-1)
        excess = side.bowl.excess(grid)
        above: Any = figure.add_subplot(2, 2, 1 + column, projection="3d")
        above.plot_surface(
            grid[..., 0], grid[..., 1], excess, cmap=theme.sequential, norm=LogNorm(1e-3, 10),
            rcount=60, ccount=60, linewidth=0, antialiased=True,
        )  # fmt: skip
        for axis in (above.xaxis, above.yaxis, above.zaxis):
            axis.set_pane_color(theme.paper)
            axis.set_major_locator(MaxNLocator(4))
        above.set(
            xlabel="$w_1$", ylabel="$w_2$", title=f"Features {side.label}\nκ = {side.bowl.condition:.3g}"
        )
        above.set_zlabel("$E - E^*$")
        above.view_init(elev=32, azim=-58)
        above.set_box_aspect(None, zoom=1.12)
        axes = figure.add_subplot(2, 2, 3 + column)
        axes.grid(False)
        filled = axes.contourf(
            first,
            second,
            np.maximum(excess, levels[0]),
            levels=levels,
            norm=LogNorm(1e-3, 10),
            extend="max",
            alpha=0.85,
        )
        axes.contour(first, second, excess, levels=levels, colors=theme.paper, linewidths=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        x, y = side.path.T
        axes.plot(x, y, color="white", linewidth=2.8, solid_joinstyle="round")
        axes.plot(x, y, color=theme.colours[1], linewidth=1.2, marker="o", markersize=2.5)
        axes.plot(*side.path[0], marker="s", markersize=9, color=theme.colours[1], markeredgecolor="white")
        axes.plot(*side.bowl.minimum, marker="X", markersize=11, color="white", markeredgecolor="black")
        axes.set(
            xlabel=f"$w_1$, weight of {NAMES[FEATURES[0]]}", ylabel=f"$w_2$, weight of {NAMES[FEATURES[1]]}",
            aspect="equal", title=f"{len(side.path) - 1} steps at η = {side.bowl.best_rate:.3g}",
        )  # fmt: skip
    bar = figure.colorbar(filled, ax=figure.axes, shrink=0.5, anchor=(0, 0.1), ticks=[1e-3, 1e-2, 0.1, 1, 10])
    bar.set_label("loss above its minimum, $E - E^*$")
    return figure


def _speed(sides: Sequence[Side], theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for side, colour, dash in zip(
        sides, (theme.colours[1], theme.colours[0]), ("-", (0, DASHES[0])), strict=True
    ):
        excess = side.bowl.excess(side.path)
        label = f"features {side.label}"
        left.plot(np.arange(len(excess)), excess / excess[0], color=colour, linestyle=dash, label=label)
        right.plot(side.rates, side.steps, color=colour, linestyle=dash, label=label)
        limit = 2 / side.bowl.curvatures[1]
        right.axvline(limit, color=colour, linestyle=":", linewidth=1.5)
        right.plot(
            side.stable,
            2 * MOST_STEPS,
            marker="v",
            markersize=9,
            color=colour,
        )
    left.axhline(TOLERANCE, color=theme.soft, linewidth=1)
    left.set(
        xscale="log", yscale="log", xlabel="step", ylabel="$(E - E^*)$ / its start",
        title="At the best rate of each", xlim=(1, None),
    )  # fmt: skip
    right.set(
        xscale="log", yscale="log", xlabel="learning rate η", ylabel="steps to converge", ylim=(1, 5 * MOST_STEPS),
        title="Steps for each rate; ▼ largest stable one found",
    )  # fmt: skip
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _valley(v: Values) -> Answer:
    less = v["normalized_condition"] < v["own_condition"]
    far_less = v["normalized_condition"] * RATIO <= v["own_condition"]
    return graded(far_less and v["normalized_condition"] <= ROUND, in_part=less)


def _faster(v: Values) -> Answer:
    larger = v["normalized_rate"] > v["own_rate"]
    fewer = v["normalized_steps"] * FEWER <= v["own_steps"]
    return graded(larger and fewer, in_part=v["normalized_steps"] < v["own_steps"])


def _theory(v: Values) -> Answer:
    keys = ("own", "normalized")
    rates = all(abs(v[f"{k}_rate"] / v[f"{k}_rate_theory"] - 1) <= RATE_ERROR for k in keys)
    steps = all(0.5 * v[f"{k}_steps_theory"] <= v[f"{k}_steps"] <= v[f"{k}_steps_theory"] + 1 for k in keys)
    return graded(rates and steps, in_part=rates or steps)


def _similar(v: Values) -> Answer:
    closer = v["normalized_median_ratio"] * 3 <= v["own_median_ratio"]
    return graded(v["normalized_similar"] >= 100 * MOST_PAIRS, in_part=closer)


LESSON = Lesson(
    name="loss-surface",
    order=40,
    title="The loss surface with and without normalized features",
    claims=[
        Claim(
            statement="Features of different scales make the loss an elongated valley; normalized, it is a round bowl.",
            rule=(
                f"holds if normalizing makes κ at least {RATIO:g} times less and at most {ROUND:g}; in"
                " part if merely less; else it does not"
            ),
            judge=_valley,
        ),
        Claim(
            statement="Normalized features allow a larger learning rate and far fewer steps.",
            rule=(
                "holds if the largest stable rate grows and the steps at the best rate fall to"
                f" 1/{FEWER:g} or less; in part if the steps merely fall; else it does not"
            ),
            judge=_faster,
        ),
        Claim(
            statement="The largest stable learning rate is 2/λ_max, and the steps to converge follow κ.",
            rule=(
                f"holds if bisection finds 2/λ_max to within {100 * RATE_ERROR:g} % and the steps taken"
                " are between half the theory's bound and one step more than the bound, both times; in"
                " part if one of the two is so; else it does not"
            ),
            judge=_theory,
        ),
        Claim(
            statement="If features are at a similar scale, the weights are at a similar scale.",
            rule=(
                f"holds if, normalized, the larger weight is at most {SIMILAR:g} times the smaller in"
                f" {100 * MOST_PAIRS:g} % of all pairs of features; in part if the median ratio falls to a"
                " third or less of what it is in their own units; else it does not"
            ),
            judge=_similar,
        ),
    ],
    text=TEXT,
    sources=[
        "LeCun, Bottou, Orr & Müller 1998, [Efficient"
        " BackProp](https://link.springer.com/chapter/10.1007/3-540-49430-8_2), section 5",
        "Nocedal & Wright 2006, *Numerical Optimization*, section 3.3",
        "Data: Efron, Hastie, Johnstone & Tibshirani 2004, [Least Angle"
        " Regression](https://arxiv.org/abs/math/0406456), carried by scikit-learn",
    ],
    measure=_measure,
    draw=_draw,
)
