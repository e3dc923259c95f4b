"""L1 and L2 against outliers: as a loss, and as a penalty on the weights, which are different claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, LassoCV, Ridge, RidgeCV

from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Measured, Number, Table, Values

Array = NDArray[np.floating[Any]]
Fit = Callable[[Array, Array], Array]  # inputs (n, p), target (n,) → intercept and weights (1 + p,)
DRAWS, PATIENTS, WRONG = 20, 100, 10  # samples of so many patients, of whom so many are spoiled
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)  # of an outlier, in deviations
FROM, TO = 20.0, 200.0  # the sizes that answers compare


def least_squares(X: Array, y: Array) -> Array:
    """Intercept and weights that minimize Σ(y − ŷ)²."""
    return np.linalg.lstsq(with_ones(X), y, rcond=None)[0]


def least_absolute_deviations(X: Array, y: Array, strength: float = 0.0) -> Array:
    """Intercept and weights ``(1 + p,)`` that minimize (1/n)Σ|y − ŷ| + ``strength``·Σ|w|, as a linear program.

    ``X`` ``(n, p)``, ``y`` ``(n,)``; the intercept is not penalized. Source: Koenker & Bassett 1978.
    """
    n, columns = len(X), X.shape[1] + 1
    design = with_ones(X)
    penalty = np.r_[0.0, np.full(columns - 1, strength)]
    cost = np.concatenate([penalty, penalty, np.full(2 * n, 1 / n)])
    equal = np.hstack([design, -design, np.eye(n), -np.eye(n)])
    solution = linprog(cost, A_eq=equal, b_eq=y, bounds=(0, None), method="highs")
    assert solution.status == 0, solution.message
    coefficients: Array = solution.x[:columns] - solution.x[columns : 2 * columns]
    return coefficients


def with_ones(X: Array) -> Array:
    return np.hstack([np.ones((len(X), 1)), X])


def _sklearn(model: Any) -> Fit:
    def fit(X: Array, y: Array) -> Array:
        model.fit(X, y)
        weights: Array = np.r_[model.intercept_, model.coef_]
        return weights

    return fit


def shift(X: Array, spoiled: Array, clean: Array, *, intercept: bool) -> float:
    """Root mean square over inputs ``X`` ``(n, p)`` of what two sets of coefficients ``(1 + p,)`` predict differently.

    Without ``intercept`` of the weights' part alone, for centred X: what a penalty could limit.
    """
    difference = spoiled - clean
    if not intercept:
        difference = np.r_[0.0, difference[1:]]
    return float(np.sqrt(np.mean((with_ones(X) @ difference) ** 2)))


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
        return float((self.y - with_ones(self.line) @ least_squares(self.line, self.y)).std())

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
class OutlierShifts:
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


def measure(_laboratory: Laboratory) -> Measured:
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
    evidence = OutlierShifts(
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


def _numbers(evidence: OutlierShifts) -> dict[str, Number]:
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


def _table(evidence: OutlierShifts) -> Table:
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
