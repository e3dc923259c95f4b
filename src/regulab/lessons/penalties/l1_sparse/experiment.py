"""L1: zeros in a linear model and in networks, which inputs it removes, and the geometry behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Lasso

from regulab.lessons.kit.laboratory import Laboratory, Trial
from regulab.lessons.kit.lesson import Measured, Number, Table, Values
from regulab.lessons.penalties.l1_sparse.corner import Corner, corner
from regulab.lessons.penalties.l1_sparse.selection import FOLDS, RemovedInputs, select
from regulab.lessons.penalties.linear import Array, diabetes, lasso_path, strongest


@dataclass(frozen=True)
class LassoZeros:
    """``removed``: percent of noise and of real inputs removed, draw by draw; ``zeros``: percent, seed by seed."""

    names: Sequence[str]
    strengths: Array
    lasso: Array
    corner: Corner
    removed: Mapping[str, tuple[Array, Array]]
    zeros: Mapping[str, Array]
    accuracy: Mapping[str, Array]


PAIR = ("bmi", "bp")  # the two inputs of the geometry: both matter, and they are correlated
NOISE_INPUTS, DRAWS = 20, 10
ARMS: dict[str, dict[str, float]] = {
    "none": {},
    "L1 0.0001": {"l1": 1e-4},
    "L1 0.001": {"l1": 1e-3},
    "L1 0.003": {"l1": 3e-3},
    "L1 0.01": {"l1": 1e-2},
    "L2 0.01": {"l2": 1e-2},
}
SEEDS = 3


def _train(laboratory: Laboratory) -> Trial:
    small = {} if laboratory.embedded else {"data": {"train_images": 1000}, "protocol": {"validation": 1000}}
    return laboratory.train(
        {
            "name": "l1-sparse",
            "model": {"name": "cnn10k", "dropout": 0},
            "train": {"epochs": 20 if laboratory.embedded else 12, "batch_size": 64},
            "seeds": SEEDS,
            "arms": ARMS,
            **small,
        }
    )


def measure(laboratory: Laboratory) -> Measured:
    data = diabetes()
    m, n = data.x.shape
    strengths = strongest(data.x, data.y) * np.logspace(0, -3.5, 71)
    lasso = lasso_path(data.x, data.y, strengths)
    theirs = np.array(
        [
            Lasso(alpha=lam / (2 * m), fit_intercept=False, tol=1e-14, max_iter=10**6)
            .fit(data.x, data.y)
            .coef_
            for lam in strengths
        ]
    )
    touching = corner(data, PAIR)
    selection = select(data, DRAWS, NOISE_INPUTS)
    trial = _train(laboratory)
    zeros = {arm: 100 * trial.results(arm, "zero_fraction") for arm in ARMS}
    numbers = {
        **_path_numbers(strengths, lasso, theirs, m),
        **_corner_numbers(touching),
        **_selection_numbers(selection, n),
        **_network_numbers(zeros),
    }
    return Measured(
        numbers=numbers,
        evidence=LassoZeros(
            names=data.names,
            strengths=strengths,
            lasso=lasso,
            corner=touching,
            removed={
                "Lasso, cross-validated": (selection.noise_removed, selection.real_removed),
                "Lasso, 1-s.e. rule": (selection.noise_removed_1se, selection.real_removed_1se),
                "Ridge, cross-validated": (selection.removed_by_ridge, selection.removed_by_ridge),
            },
            zeros=zeros,
            accuracy={arm: trial.results(arm, "test_accuracy") for arm in ARMS},
        ),
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"Coefficients: {m} patients and {n} standardized inputs of scikit-learn's diabetes data;"
            f" {DRAWS} draws of {NOISE_INPUTS} noise inputs, {FOLDS} folds. Networks: cnn10k on"
            f" {laboratory.dataset}, {trial.splits.train.labels.size:,} training images, {SEEDS} seeds,"
            f" {trial.study.train.epochs} epochs, mini-batches of {trial.study.train.batch_size}."
        ),
        tables=[_table(trial)],
    )


def _path_numbers(
    strengths: NDArray[np.float64], lasso: NDArray[np.float64], theirs: NDArray[np.float64], m: int
) -> dict[str, Number]:
    """Of our path ``(λ, n)`` beside scikit-learn's, from m samples."""
    return {
        "sklearn": Number(
            value=float(np.abs(lasso - theirs).max() / np.abs(theirs).max()),
            label="largest difference from scikit-learn's Lasso, over the largest coefficient",
        ),
        "same_zeros": Number(
            value=float(((lasso == 0) == (theirs == 0)).mean()) * 100,
            label="coefficients on the path that are zero in both or in neither",
            unit="%",
        ),
        "lambda_max": Number(value=float(strengths[0]), label="λ from which all coefficients are zero"),
        "lambda1_max": Number(value=float(strengths[0]) / (2 * m), label="the same as regulab's λ₁ = λ/(2m)"),
    }


def _corner_numbers(touching: Corner) -> dict[str, Number]:
    return {
        "lasso_small": Number(
            value=float(np.abs(touching.lasso).min()),
            label=f"smaller of the two coefficients where the ellipse touches the diamond ({', '.join(PAIR)})",
        ),
        "ridge_small": Number(
            value=float(np.abs(touching.ridge).min()),
            label="smaller of the two where the ellipse touches the circle",
        ),
    }


def _selection_numbers(selection: RemovedInputs, n: int) -> dict[str, Number]:
    """Of what is removed of n real and of the noise inputs."""
    return {
        "zero_inputs": Number(
            value=float((NOISE_INPUTS * selection.noise_removed + n * selection.real_removed).mean())
            / (NOISE_INPUTS + n),
            label=f"inputs with weight zero at the cross-validated λ ({n} real, {NOISE_INPUTS} noise)",
            unit="%",
        ),
        "noise_removed": Number(
            value=float(selection.noise_removed.mean()),
            label="noise inputs removed by Lasso at that λ",
            unit="%",
        ),
        "real_removed": Number(
            value=float(selection.real_removed.mean()),
            label="real inputs removed by Lasso at that λ",
            unit="%",
        ),
        "noise_removed_1se": Number(
            value=float(selection.noise_removed_1se.mean()),
            label="noise inputs removed at the λ of the one-standard-error rule",
            unit="%",
        ),
        "real_removed_1se": Number(
            value=float(selection.real_removed_1se.mean()),
            label="real inputs removed at the λ of the one-standard-error rule",
            unit="%",
        ),
        "ridge_removed": Number(
            value=float(selection.removed_by_ridge.max()),
            label="most inputs removed by Ridge at its cross-validated λ",
            unit="%",
        ),
    }


def _network_numbers(zeros: Mapping[str, NDArray[np.float64]]) -> dict[str, Number]:
    """Of the exact zeros of each arm ``(S,)``, in percent."""
    return {
        "network_l1": Number(
            value=float(max(zeros[arm].min() for arm in ARMS if arm.startswith("L1"))),
            label="exact zeros in networks, best arm of L1, least of its seeds",
            unit="% of the weights",
        ),
        "network_others": Number(
            value=float(max(zeros[arm].max() for arm in ARMS if not arm.startswith("L1"))),
            label="most exact zeros in a network without L1",
            unit="% of the weights",
        ),
    }


def _findings(values: Values) -> str:
    ridge = f"{values['ridge_removed']:.2g} %" if values["ridge_removed"] else "none"
    others = f"at most {values['network_others']:.2g} %" if values["network_others"] else "none"
    return (
        "The ellipse touches the diamond"
        + (" at a corner: one coefficient is exactly 0" if values["lasso_small"] == 0 else " off the axes")
        + f"; on the circle of the same reach the smaller one is {values['ridge_small']:.2g}. With"
        f" {NOISE_INPUTS} inputs of pure noise added, Lasso at the cross-validated λ removes"
        f" {values['noise_removed']:.0f} % of them and {values['real_removed']:.0f} % of the real inputs; the"
        f" one-standard-error rule removes {values['noise_removed_1se']:.0f} % and"
        f" {values['real_removed_1se']:.0f} %; Ridge removes {ridge}. In the networks the L1"
        f" arm with the most zeros has at least {values['network_l1']:.2g} % of its weights exactly zero in every seed;"
        f" the arms without L1 have {others}."
    )


def _table(trial: Trial) -> Table:
    rows = [
        [
            arm,
            f"{100 * trial.results(arm, 'zero_fraction').mean():.1f}",
            f"{100 * trial.results(arm, 'near_zero_fraction').mean():.1f}",
            f"{trial.results(arm, 'weight_norm_l1').mean():,.0f}",
            f"{trial.results(arm, 'test_accuracy').mean():.2f}",
        ]
        for arm in ARMS
    ]
    return Table(
        title=f"Networks: means over {len(trial.study.seeds)} seeds",
        columns=["arm, λ₁ or λ₂", "exact zeros (%)", "near zero (%)", "Σ|w|", "test accuracy (%)"],
        rows=rows,
    )
