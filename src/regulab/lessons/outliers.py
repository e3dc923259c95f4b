"""L1 and L2 against outliers: as a loss, and as a penalty on the weights, which are different claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import linprog
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, LassoCV, Ridge, RidgeCV

from regulab.lessons.laboratory import Laboratory
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, Number, Picture, Table, Values, graded
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme

Array = NDArray[np.floating[Any]]
Fit = Callable[[Array, Array], Array]  # inputs (n, p), target (n,) → intercept and weights (1 + p,)

DRAWS, PATIENTS, WRONG = 20, 100, 10  # samples of so many patients, of whom so many are spoiled
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)  # of an outlier, in deviations
FROM, TO = 20.0, 200.0  # the sizes that answers compare
LEVEL, STEEP = 1.1, 5.0  # growth between them that counts as none, and as following the outlier
SHOWN = 10.0  # the size in the figure of the fits
TEXT = r"""
**As a loss.** Fitting $\hat y = b + w^\top x$ by least squares (L2) or least absolute deviations (L1) minimizes

$$\sum_i (y_i - \hat y_i)^2 \qquad\text{or}\qquad \sum_i \lvert y_i - \hat y_i\rvert .$$

Where the derivative is zero, residuals $r_i = y_i - \hat y_i$ balance with the pull $\psi$ that the loss gives
them:

$$\sum_i \psi(r_i)\,x_i = 0, \qquad \psi(r) = r \;\text{ (L2)}, \qquad \psi(r) = \mathrm{sign}(r) \;\text{ (L1)} .$$

Under L2 a point pulls in proportion to its residual, without limit. Under L1 it pulls with $\pm 1$ however far off
it is: a **bounded influence**. But $x_i$ stands in the sum as well. A point that is far out in $x$ (a leverage
point) pulls hard under both losses, and L1 does nothing against it. If its response is an ordinary one, the line
is levered flat: the shift ends where the slope is lost.

**As a penalty.** Lasso and ridge regression,

$$\frac{1}{2n}\sum_i (y_i - \hat y_i)^2 + \lambda\sum_j \lvert w_j\rvert \qquad\text{and}\qquad
\frac{1}{2n}\sum_i (y_i - \hat y_i)^2 + \frac{\lambda}{2}\sum_j w_j^2 ,$$

have the *same* squared loss, so an outlier pulls in both with its full residual. The penalty limits the weights,
whoever asks for them; it cannot tell an outlier from a patient. That L1 is robust is a statement about the loss.

The absolute loss is minimized exactly, as a linear program in $u_i, v_i \ge 0$ with $y_i - \hat y_i = u_i - v_i$:
minimize $\sum_i (u_i + v_i)$; a penalty $\lambda\sum_j\lvert w_j\rvert$ with $w_j = p_j - q_j$ adds $\lambda\sum_j
(p_j + q_j)$.
"""


def least_squares(X: Array, y: Array) -> Array:
    """Intercept and weights that minimize Σ(y − ŷ)²."""
    return np.linalg.lstsq(_with_ones(X), y, rcond=None)[0]


def least_absolute_deviations(X: Array, y: Array, strength: float = 0.0) -> Array:
    """Intercept and weights ``(1 + p,)`` that minimize (1/n)Σ|y − ŷ| + ``strength``·Σ|w|, as a linear program.

    ``X`` ``(n, p)``, ``y`` ``(n,)``; the intercept is not penalized. Source: Koenker & Bassett 1978.
    """
    n, columns = len(X), X.shape[1] + 1
    design = _with_ones(X)
    penalty = np.r_[0.0, np.full(columns - 1, strength)]
    cost = np.concatenate([penalty, penalty, np.full(2 * n, 1 / n)])
    equal = np.hstack([design, -design, np.eye(n), -np.eye(n)])
    solution = linprog(cost, A_eq=equal, b_eq=y, bounds=(0, None), method="highs")
    assert solution.status == 0, solution.message
    coefficients: Array = solution.x[:columns] - solution.x[columns : 2 * columns]
    return coefficients


def _with_ones(X: Array) -> Array:
    return np.hstack([np.ones((len(X), 1)), X])


def _sklearn(model: Any) -> Fit:
    def fit(X: Array, y: Array) -> Array:
        model.fit(X, y)
        return np.r_[model.intercept_, model.coef_]

    return fit


def shift(X: Array, spoiled: Array, clean: Array, *, intercept: bool) -> float:
    """Root mean square over inputs ``X`` ``(n, p)`` of what two sets of coefficients ``(1 + p,)`` predict differently.

    Without ``intercept`` of the weights' part alone, for centred X: what a penalty could limit.
    """
    difference = spoiled - clean
    if not intercept:
        difference = np.r_[0.0, difference[1:]]
    return float(np.sqrt(np.mean((_with_ones(X) @ difference) ** 2)))


@dataclass(frozen=True)
class Sample:
    """Some patients: inputs of deviation 1 with ``key``, the column the line is fitted to; who will be spoiled."""

    X: Array
    y: Array
    key: int
    in_response: NDArray[np.intp]  # chosen among the upper half of the key feature, so that the line tilts
    in_input: NDArray[np.intp]

    @classmethod
    def draw(cls, X: Array, y: Array, key: int, generator: np.random.Generator) -> Sample:
        chosen = generator.choice(len(X), PATIENTS, replace=False)
        X, y = X[chosen], y[chosen]
        X = (X - X.mean(0)) / X.std(0)
        upper = np.flatnonzero(X[:, key] > np.median(X[:, key]))
        everyone = np.arange(PATIENTS)
        return cls(X, y, key, *(generator.choice(group, WRONG, replace=False) for group in (upper, everyone)))

    @property
    def line(self) -> Array:
        return self.X[:, [self.key]]

    @property
    def deviation(self) -> float:
        """Of the residuals from the least-squares line: the unit of outliers and shifts."""
        return float((self.y - _with_ones(self.line) @ least_squares(self.line, self.y)).std())

    def spoiled_response(self, size: float) -> Array:
        y = self.y.copy()
        y[self.in_response] += size * self.deviation
        return y

    def spoiled_input(self, size: float) -> Array:
        x = self.line.copy()
        x[self.in_input] += size
        return x


Curves = dict[str, list[Array]]  # by method: over SIZES, for each draw


@dataclass(frozen=True)
class Evidence:
    """``sample`` is the first draw; the shifts are in residual deviations."""

    sample: Sample
    response: Mapping[str, Array]  # by method: (draws, sizes)
    leverage: Mapping[str, Array]
    penalties: Mapping[str, Array]


LOSSES: Mapping[str, Fit] = {"L2 loss": least_squares, "L1 loss": least_absolute_deviations}


def _penalized(X: Array, y: Array) -> dict[str, Fit]:
    """The methods of the third panel, with strengths that five-fold cross-validation picks on clean data."""
    lasso = float(LassoCV(cv=5, alphas=30).fit(X, y).alpha_)
    ridge = float(RidgeCV(alphas=np.geomspace(0.1, 1000, 30), cv=5).fit(X, y).alpha_)
    return {
        "L2 loss": least_squares,
        "L2 loss, L2 penalty": _sklearn(Ridge(alpha=ridge)),
        "L2 loss, L1 penalty": _sklearn(Lasso(alpha=lasso)),
        "L1 loss": least_absolute_deviations,
        "L1 loss, L1 penalty": lambda X, y: least_absolute_deviations(X, y, lasso),
    }


def _measure(_laboratory: Laboratory) -> Measured:
    data = load_diabetes(scaled=False)
    y = (data.target - data.target.mean()) / data.target.std()
    generator = np.random.default_rng(0)
    key = data.feature_names.index("bmi")
    samples = [Sample.draw(data.data, y, key, generator) for _ in range(DRAWS)]
    response: Curves = {name: [] for name in LOSSES}
    leverage: Curves = {name: [] for name in LOSSES}
    penalties: Curves = {}
    for sample in samples:
        x, unit = sample.line, sample.deviation
        for name, fit in LOSSES.items():
            clean = fit(x, sample.y)
            by_response = [fit(x, sample.spoiled_response(size)) for size in SIZES]
            by_input = [fit(sample.spoiled_input(size), sample.y) for size in SIZES]
            for table, fits in ((response, by_response), (leverage, by_input)):
                table[name].append(np.array([shift(x, b, clean, intercept=True) for b in fits]) / unit)
        for name, fit in _penalized(sample.X, sample.y).items():
            clean = fit(sample.X, sample.y)
            fits = [fit(sample.X, sample.spoiled_response(size)) for size in SIZES]
            shifts = [shift(sample.X, b, clean, intercept=False) for b in fits]
            penalties.setdefault(name, []).append(np.array(shifts) / unit)
    evidence = Evidence(
        samples[0],
        *(
            {name: np.stack(rows) for name, rows in table.items()}
            for table in (response, leverage, penalties)
        ),
    )
    numbers = _numbers(evidence)
    return Measured(
        numbers=numbers,
        evidence=evidence,
        conditions=(
            f"scikit-learn's diabetes data: {DRAWS} samples of {PATIENTS} of its {len(y)} patients,"
            f" {WRONG} of each spoiled; disease progression from the body-mass index (loss) and from all"
            " ten features (penalty), features with deviation 1. Sizes and shifts in deviations σ of the"
            " residuals (sizes in x: of the feature). Shift: the root mean square change of what the fit"
            " predicts for the patients as they were. Strengths of penalties by five-fold"
            " cross-validation on the clean sample."
        ),
        findings=_findings({key: number.value for key, number in numbers.items()}),
        tables=[_table(evidence)],
    )


def _median(table: Array, size: float) -> float:
    return float(np.median(table[:, SIZES.index(size)]))


def _numbers(evidence: Evidence) -> dict[str, Number]:
    numbers = {}
    for place, where, table in (
        ("response", "in the response", evidence.response),
        ("input", "in x", evidence.leverage),
    ):
        for key, name in (("l2", "L2 loss"), ("l1", "L1 loss")):
            for size in (FROM, TO):
                numbers[f"{place}_{key}_{size:g}"] = _shift(
                    _median(table[name], size), f"{name}: shift by outliers of {size:g} deviations {where}"
                )
    for key, name in (
        ("none", "L2 loss"),
        ("ridge", "L2 loss, L2 penalty"),
        ("lasso", "L2 loss, L1 penalty"),
        ("absolute", "L1 loss"),
        ("absolute_l1", "L1 loss, L1 penalty"),
    ):
        numbers[f"penalty_{key}"] = _shift(
            _median(evidence.penalties[name], TO),
            f"{name}, ten features: the same for {TO:g} σ in the response",
        )
    return numbers


def _shift(value: float, label: str) -> Number:
    return Number(value=value, label=f"{label}, median", unit="σ")


def _findings(v: Values) -> str:
    grew = v[f"response_l1_{TO:g}"] / v[f"response_l1_{FROM:g}"]
    other = v[f"response_l2_{TO:g}"] / v[f"response_l2_{FROM:g}"]
    stays = "no further" if f"{grew:.3g}" == "1" else f"{grew:.3g} times as far"
    return (
        f"When {WRONG} of {PATIENTS} responses went from {FROM:g} σ off to {TO:g} σ off, the least-squares"
        f" line moved {other:.3g} times as far ({v[f'response_l2_{TO:g}']:.3g} σ), the least-absolute line"
        f" {stays} ({v[f'response_l1_{TO:g}']:.2g} σ). With the outliers in x instead, the lines"
        f" moved {v[f'input_l2_{TO:g}']:.2g} σ (L2) and {v[f'input_l1_{TO:g}']:.2g} σ (L1). With ten"
        f" features, outliers of {TO:g} σ in the response and squared loss, the weights moved the predictions"
        f" by {v['penalty_none']:.3g} σ without a penalty,"
        f" {v['penalty_ridge']:.3g} σ with L2 and {v['penalty_lasso']:.3g} σ with L1; with absolute loss"
        f" by {v['penalty_absolute']:.2g} σ."
    )


def _table(evidence: Evidence) -> Table:
    rows = []
    for what, curves in (
        ("response, line", evidence.response),
        ("x, line", evidence.leverage),
        ("response, ten features, weights alone", evidence.penalties),
    ):
        for name, table in curves.items():
            rows.append([f"{name}: {what}", *(f"{value:.3g}" for value in np.median(table, axis=0))])
    return Table(
        title="Median shift in σ by the size of the outliers",
        columns=["method: outliers in", *(f"{size:g} σ" for size in SIZES)],
        rows=rows,
    )


def _draw(measured: Measured, theme: Theme) -> list[Picture]:
    evidence: Evidence = measured.evidence
    v = measured.values
    return [
        Picture(
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
        Picture(
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
                _with_ones(ends) @ coefficients,
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


def _influence(evidence: Evidence, theme: Theme) -> Figure:
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


def _loss(v: Values) -> Answer:
    l1, l2 = (v[f"response_{key}_{TO:g}"] / v[f"response_{key}_{FROM:g}"] for key in ("l1", "l2"))
    half = v[f"response_l1_{TO:g}"] < 0.5 * v[f"response_l2_{TO:g}"]
    return graded(bool(l1 < LEVEL and l2 > STEEP), in_part=bool(half))


def _leverage(v: Values) -> Answer:
    l1, l2 = v[f"input_l1_{TO:g}"], v[f"input_l2_{TO:g}"]
    return graded(l1 < 0.1 * l2, in_part=l1 < 0.5 * l2)


def _penalty(v: Values) -> Answer:
    below_ridge = v["penalty_lasso"] < 0.5 * v["penalty_ridge"]
    return graded(below_ridge and v["penalty_lasso"] < 0.5 * v["penalty_none"], in_part=below_ridge)


LESSON = Lesson(
    name="outliers",
    order=150,
    title="Outliers: L1 and L2 as a loss and as a penalty",
    claims=[
        Claim(
            statement="As a loss, L1 is robust to outliers in the response and L2 is not.",
            rule=(
                f"holds if, as outliers grow from {FROM:g} σ to {TO:g} σ, the shift of the L1 line grows"
                f" less than {LEVEL:g} times and that of the L2 line more than {STEEP:g} times; in part if"
                " L1's shift is merely under half of L2's in the end; else it does not"
            ),
            judge=_loss,
        ),
        Claim(
            statement="As a loss, L1 is robust to outliers in the inputs.",
            rule=(
                f"holds if outliers of {TO:g} deviations in x shift the L1 line by less than a tenth of"
                " what they shift the L2 line; in part if by less than half; else it does not"
            ),
            judge=_leverage,
        ),
        Claim(
            statement="As a penalty, L1 makes a fit robust to outliers, where L2 does not.",
            rule=(
                f"holds if outliers of {TO:g} σ in the response shift the lasso's weights by less than"
                " half of what they shift ridge's and the unpenalized; in part if by less than half of"
                " ridge's; else it does not"
            ),
            judge=_penalty,
        ),
    ],
    text=TEXT,
    sources=[
        "Koenker & Bassett 1978, [Regression quantiles](https://doi.org/10.2307/1913643)",
        "Hampel, Ronchetti, Rousseeuw & Stahel 1986, *Robust Statistics: The Approach Based on Influence"
        " Functions*",
        "Rousseeuw & Leroy 1987, [Robust Regression and Outlier"
        " Detection](https://doi.org/10.1002/0471725382), on leverage points",
        "Tibshirani 1996, [the lasso](https://doi.org/10.1111/j.2517-6161.1996.tb02080.x)",
    ],
    measure=_measure,
    draw=_draw,
)
