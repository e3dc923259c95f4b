"""The loss over two weights: an elongated valley for features in their own units, a bowl once they are normalized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from regulab.lessons.inputs.loss_surface.quadratic import (
    MOST_STEPS,
    TOLERANCE,
    Quadratic,
    largest_stable_rate,
    predicted_steps,
)
from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Measured, Number, Table, Values

Array = NDArray[np.floating[Any]]
FEATURES = ("bmi", "s5")  # of the diabetes data: the two that predict it best, at scales 8 apart
NAMES = {"bmi": "body-mass index", "s5": "log triglycerides"}
SIMILAR, MOST_PAIRS = 3.0, 0.9


def centred(values: Array) -> Array:
    away: Array = values - values.mean(0)
    return away


def standardized(values: Array) -> Array:
    """Mean 0 and (biased) variance 1 in each column."""
    scaled: Array = centred(values) / values.std(0)
    return scaled


def weight_ratio(w: Array) -> float:
    """The larger |w| over the smaller."""
    sizes = np.abs(w)
    return float(sizes.max() / sizes.min())


@dataclass(frozen=True)
class Side:
    """One way to give the features, and what was measured with it."""

    label: str
    quadratic: Quadratic
    path: Array  # at the best rate
    stable: float  # the largest stable rate, by bisection
    rates: Array
    steps: Array  # until converged at each of the rates; nan where not

    @classmethod
    def measured(cls, label: str, quadratic: Quadratic) -> Side:
        stable = largest_stable_rate(quadratic)
        rates = np.concatenate([stable * np.geomspace(0.02, 0.9, 24), stable * np.linspace(0.91, 0.999, 16)])
        return cls(
            label,
            quadratic,
            path=quadratic.descend(quadratic.best_rate, MOST_STEPS, TOLERANCE),
            stable=stable,
            rates=rates,
            steps=np.array([quadratic.steps(rate) for rate in rates]),
        )


def measure(_laboratory: Laboratory) -> Measured:
    data = load_diabetes(scaled=False)
    columns = [data.feature_names.index(name) for name in FEATURES]
    X, y = data.data[:, columns], standardized(data.target)
    sides = [
        Side.measured("in their own units", Quadratic.of(centred(X), y)),
        Side.measured("normalized", Quadratic.of(standardized(X), y)),
    ]
    own, normalized = sides
    pairs = [data.data[:, list(pair)] for pair in combinations(range(data.data.shape[1]), 2)]
    own_ratios = np.array([weight_ratio(Quadratic.of(centred(pair), y).minimum) for pair in pairs])
    normalized_ratios = np.array(
        [weight_ratio(Quadratic.of(standardized(pair), y).minimum) for pair in pairs]
    )
    numbers = {
        **_side_numbers("own", own),
        **_side_numbers("normalized", normalized),
        **_ratio_numbers(own_ratios, normalized_ratios),
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


def _side_numbers(key: str, side: Side) -> dict[str, Number]:
    """What was measured with the features given in one way; ``key`` begins the numbers' names."""
    quadratic, w = side.quadratic, side.quadratic.minimum
    return {
        f"{key}_condition": Number(value=quadratic.condition, label=f"κ of the Hessian, {side.label}"),
        f"{key}_rate_theory": Number(
            value=2 / quadratic.curvatures[1], label=f"2/λ_max, {side.label}", digits=4
        ),
        f"{key}_rate": Number(
            value=side.stable,
            label=f"largest stable learning rate found by bisection, {side.label}",
            digits=4,
        ),
        f"{key}_steps_theory": Number(
            value=predicted_steps(quadratic.condition),
            label=f"bound on the steps by theory, before rounding up, {side.label}",
        ),
        f"{key}_steps": Number(value=len(side.path) - 1, label=f"steps that it took, {side.label}"),
        f"{key}_weight_1": Number(value=w[0], label=f"learned weight of {NAMES[FEATURES[0]]}, {side.label}"),
        f"{key}_weight_2": Number(value=w[1], label=f"learned weight of {NAMES[FEATURES[1]]}, {side.label}"),
        f"{key}_weight_ratio": Number(
            value=weight_ratio(w), label=f"larger of these weights over the smaller, {side.label}"
        ),
    }


def _ratio_numbers(own: Array, normalized: Array) -> dict[str, Number]:
    """Of all pairs of features: the larger learned weight over the smaller, in their own units and normalized."""
    return {
        "own_median_ratio": Number(
            value=float(np.median(own)),
            label=f"the same ratio, median over all {len(own)} pairs of the ten features, in their own units",
        ),
        "normalized_median_ratio": Number(value=float(np.median(normalized)), label="the same, normalized"),
        "own_similar": Number(
            value=100 * float((own <= SIMILAR).mean()),
            label=f"pairs with a ratio up to {SIMILAR:g}, in their own units",
            unit="%",
        ),
        "normalized_similar": Number(
            value=100 * float((normalized <= SIMILAR).mean()), label="the same, normalized", unit="%"
        ),
    }


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
            quadratic = Quadratic.of(inputs, y)
            deviations = inputs.std(0)
            rows.append(
                [
                    f"{name}: {pair[0]}, {pair[1]}",
                    label,
                    f"{deviations.max() / deviations.min():,.3g}",
                    f"{quadratic.condition:,.3g}",
                    f"{2 / quadratic.curvatures[1]:.4g}",
                    f"{largest_stable_rate(quadratic):.4g}",
                    f"{predicted_steps(quadratic.condition):,.3g}",
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
