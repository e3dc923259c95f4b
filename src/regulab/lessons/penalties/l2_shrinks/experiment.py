"""L2: what it does to coefficients one by one, to principal directions, and to the weights of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from regulab.lessons.kit.laboratory import Laboratory, Trial
from regulab.lessons.kit.lesson import Measured, Number, Table, Values
from regulab.lessons.penalties.linear import Array, Regression, diabetes, ridge_path
from regulab.models.parameters import weight_names


@dataclass(frozen=True)
class ShrunkenCoefficients:
    """``factors`` ``(L, n)`` are θ(λ)/θ(0) on the data's inputs, ``flat`` the same on orthonormal ones.

    ``directions`` ``(L, n)`` are the factors measured along the principal directions, whose variances are ``squares``.
    ``weights`` are all weights of the networks of an arm, of all seeds, in one row.
    """

    names: Sequence[str]
    strengths: Array  # (L,), the values of λ
    path: Array
    factors: Array
    flat: Array
    directions: Array
    squares: Array
    half: float  # the λ at which ‖θ‖ is half that of least squares
    seeds: int
    weights: Mapping[str, NDArray[np.float32]]
    layers: Mapping[str, Array]  # root mean square of each layer's weights, mean over the seeds


EXACT = 1e-8  # what float64 may leave of an equality, generously
STRENGTHS = np.logspace(-1, 5, 61)
ARMS: dict[str, dict[str, float]] = {
    "none": {},
    "L2 0.001": {"l2": 0.001},
    "L2 0.01": {"l2": 0.01},
    "L2 0.1": {"l2": 0.1},
}
SEEDS = 3


def shrink_factors(data: Regression, strengths: Array) -> tuple[Array, Array, Array]:
    """θ(λ)/θ(0) of every coefficient; the same along every principal direction; and the s² of those.

    The first two have shape ``(L, n)``, the last ``(n,)``. Of `ridge_path`, which assumes full column rank.
    """
    plain = ridge_path(data.x, data.y, [0.0])[0]
    path = ridge_path(data.x, data.y, strengths)
    _, s, vt = np.linalg.svd(data.x, full_matrices=False)
    return path / plain, (path @ vt.T) / (vt @ plain), s**2


def orthonormalized(data: Regression) -> Regression:
    """The same outputs from orthonormal inputs that span the same space: Q of X = Q·R."""
    return Regression(np.linalg.qr(data.x)[0], data.y, data.names)


def _train(laboratory: Laboratory) -> Trial:
    small = {} if laboratory.embedded else {"data": {"train_images": 1000}, "protocol": {"validation": 1000}}
    return laboratory.train(
        {
            "name": "l2-shrinks",
            "model": {"name": "cnn10k", "dropout": 0},
            "train": {"epochs": 20 if laboratory.embedded else 12, "batch_size": 64},
            "seeds": SEEDS,
            "arms": ARMS,
            **small,
        }
    )


def _weights(trial: Trial, arm: str) -> tuple[NDArray[np.float32], Array]:
    """All weights of an arm, of all its seeds; and the root mean square of each layer's, mean over seeds."""
    rows, spreads = [], []
    for seed in trial.study.seeds:
        module = trial.module(arm, seed)
        layers = [
            p.detach().numpy().ravel() for n, p in module.named_parameters() if n in weight_names(module)
        ]
        rows.append(np.concatenate(layers))
        spreads.append([float(np.sqrt(np.square(layer, dtype=np.float64).mean())) for layer in layers])
    return np.concatenate(rows), np.mean(spreads, axis=0)


def measure(laboratory: Laboratory) -> Measured:
    data, trial = diabetes(), _train(laboratory)
    m = len(data.y)
    path = ridge_path(data.x, data.y, STRENGTHS)
    theirs = np.array([Ridge(alpha=lam, fit_intercept=False).fit(data.x, data.y).coef_ for lam in STRENGTHS])
    factors, directions, squares = shrink_factors(data, STRENGTHS)
    flat, _, _ = shrink_factors(orthonormalized(data), STRENGTHS)
    norms = np.linalg.norm(path, axis=1)
    least = np.linalg.norm(ridge_path(data.x, data.y, [0.0]))
    half = int(np.abs(norms - least / 2).argmin())
    pairs = [_weights(trial, arm) for arm in ARMS]
    weights = {arm: pair[0] for arm, pair in zip(ARMS, pairs, strict=True)}
    layers = {arm: pair[1] for arm, pair in zip(ARMS, pairs, strict=True)}
    zero = {arm: float(trial.results(arm, "zero_fraction").max()) * 100 for arm in ARMS}
    lengths = np.array([trial.results(arm, "weight_norm_l2") for arm in ARMS])
    evidence = ShrunkenCoefficients(
        names=data.names,
        strengths=STRENGTHS,
        path=path,
        factors=factors,
        flat=flat,
        directions=directions,
        squares=squares,
        half=float(STRENGTHS[half]),
        seeds=SEEDS,
        weights=weights,
        layers=layers,
    )
    numbers = {**_linear_numbers(evidence, theirs, m), **_network_numbers(layers, zero, lengths)}
    return Measured(
        numbers=numbers,
        evidence=evidence,
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"Coefficients: {m} patients and {len(data.names)} standardized inputs of scikit-learn's diabetes data,"
            f" {len(STRENGTHS)} values of λ. Networks: cnn10k on {laboratory.dataset},"
            f" {trial.splits.train.labels.size:,} training images, {SEEDS} seeds, {trial.study.train.epochs} epochs."
        ),
        tables=[_table(trial, zero)],
    )


def _linear_numbers(evidence: ShrunkenCoefficients, theirs: Array, m: int) -> dict[str, Number]:
    """Of the paths beside scikit-learn's ``(λ, n)``, from m samples."""
    row = int(np.abs(STRENGTHS - evidence.half).argmin())
    by_theory = evidence.squares / (evidence.squares + STRENGTHS[:, None])
    return {
        "sklearn": Number(
            value=float(np.abs(evidence.path - theirs).max() / np.abs(theirs).max()),
            label="largest difference from scikit-learn's Ridge, over the largest coefficient",
        ),
        "half": Number(value=evidence.half, label="λ at which ‖θ‖ is half that of least squares"),
        "half_lambda2": Number(value=evidence.half / m, label="the same as regulab's λ₂ = λ/m"),
        "least_factor": Number(
            value=float(evidence.factors[row].min()),
            label="least factor of a coefficient there (real inputs)",
        ),
        "largest_factor": Number(
            value=float(evidence.factors[row].max()),
            label="largest factor of a coefficient there (real inputs)",
        ),
        "grown": Number(
            value=int((np.abs(evidence.factors) > 1 + EXACT).any(0).sum()),
            label=f"coefficients of {len(evidence.names)} that grow somewhere on the path",
        ),
        "turned": Number(
            value=int((evidence.factors < 0).any(0).sum()),
            label=f"coefficients of {len(evidence.names)} that change sign on the path",
        ),
        "orthonormal": Number(
            value=float(np.abs(evidence.flat * (1 + STRENGTHS[:, None]) - 1).max()),
            label="largest departure from 1/(1 + λ) with orthonormal inputs, relative",
        ),
        "directions": Number(
            value=float(np.abs(evidence.directions / by_theory - 1).max()),
            label="largest departure from s²/(s² + λ) along principal directions, relative",
        ),
        "linear_zeros": Number(
            value=int((evidence.path == 0).sum()), label="coefficients exactly zero on the path"
        ),
    }


def _network_numbers(
    layers: Mapping[str, NDArray[np.float64]], zero: Mapping[str, float], lengths: NDArray[np.float64]
) -> dict[str, Number]:
    """Of the arms' layers, their zeros in percent, and ‖w‖ ``(arms, S)``."""
    ratios = layers["L2 0.01"] / layers["none"]
    return {
        "network_zeros": Number(
            value=max(zero[arm] for arm in ARMS if arm != "none"),
            label="most exact zeros in a network with L2",
            unit="% of the weights",
        ),
        "ordered": Number(
            value=float((np.diff(lengths, axis=0) < 0).mean()) * 100,
            label="steps to the next stronger L2 that made a network's ‖w‖ smaller",
            unit="%",
        ),
        "layer_least": Number(
            value=float(ratios.min()), label="least factor of a layer's weights at λ₂ = 0.01, against none"
        ),
        "layer_most": Number(
            value=float(ratios.max()), label="largest factor of a layer's weights at λ₂ = 0.01, against none"
        ),
    }


def _findings(values: Values) -> str:
    inputs = (
        f"With orthonormal inputs there is one factor, 1/(1 + λ), to within {values['orthonormal']:.1g}. On the real,"
        f" correlated inputs, where ‖θ‖ has been halved, the factors of the coefficients lie between"
        f" {values['least_factor']:.2f} and {values['largest_factor']:.2f}; on the whole path {values['grown']} of"
        f" them grow somewhere and {values['turned']} change their sign."
    ).replace(" -", " −")
    directions = (
        " It is the principal directions that shrink by a rule, s²/(s² + λ), and the weak ones go first."
        if values["directions"] < EXACT
        else " Nor do the principal directions follow s²/(s² + λ)."
    )
    networks = (
        f" In the networks, too, layers shrink by different factors (at λ₂ = 0.01 between {values['layer_least']:.2f}"
        f" and {values['layer_most']:.2f})"
    )
    zeros = (
        ", and no weight is exactly zero."
        if values["network_zeros"] == 0
        else f"; up to {values['network_zeros']:.2g} % of the weights are exactly zero: those that the loss does not"
        " hold, after they decayed below the smallest float32."
    )
    return inputs + directions + networks + zeros


def _table(trial: Trial, zero: Mapping[str, float]) -> Table:
    rows = [
        [
            arm,
            f"{trial.results(arm, 'weight_norm_l2').mean():.2f}",
            f"{trial.results(arm, 'weight_norm_l1').mean():,.0f}",
            f"{zero[arm]:.2g}",
            f"{trial.results(arm, 'near_zero_fraction').mean() * 100:.2g}",
            f"{trial.results(arm, 'test_accuracy').mean():.2f}",
        ]
        for arm in ARMS
    ]
    return Table(
        title=f"Networks: means over {len(trial.study.seeds)} seeds (most exact zeros of any seed)",
        columns=["arm, λ₂", "‖w‖", "Σ|w|", "exact zeros (%)", "near zero (%)", "test accuracy (%)"],
        rows=rows,
    )
