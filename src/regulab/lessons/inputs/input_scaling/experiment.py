"""Raw, centred, scaled and whitened inputs: the shape of the loss, and how long gradient descent takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_wine

from regulab.data.whitening import fit_whitening
from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Measured, Number, Table, Values
from regulab.training.full_batch import Descent, cross_entropy_epochs, descend

Array = NDArray[np.float64]
VERSIONS = ("raw", "centred", "scaled", "whitened")
SOURCES = ("table", "images")
REACHED = 0.01  # of the excess loss at the start
DESCENT = 1000  # epochs of gradient descent that are run; beyond them its closed form counts on


@dataclass(frozen=True)
class ScaledDescents:
    """By source and version: inputs of two features to scatter, descents."""

    pairs: Mapping[str, tuple[int, int]]
    names: Mapping[str, tuple[str, str]]
    points: Mapping[str, Mapping[str, Array]]  # (N, 2)
    descents: Mapping[str, Mapping[str, Descent]]
    data: Mapping[str, str]


FEW = 2000  # images of a large dataset, to be quick
RATES: Array = 2.0 ** np.arange(-2.0, 8.0)  # times 1/λmax, to choose from for the cross-entropy
CROSS_ENTROPY = 0.01  # of ln(classes), the loss at the start: the loss to reach
HORIZON = 400  # epochs that are tried for it
EPSILON = 1e-3  # of the largest variance: what the whitening of images adds to every variance
EPSILONS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)


def versions(x: Array, epsilon: float) -> dict[str, Array]:
    """Inputs ``(N, D)`` without constant features, in the four versions; ε in shares of the largest variance."""
    centred = x - x.mean(0)
    plain = fit_whitening(x)
    whitening = fit_whitening(x, epsilon * float(plain.variances[0]))
    return {"raw": x, "centred": centred, "scaled": centred / centred.std(0), "whitened": whitening.zca(x)}


def one_hot(labels: NDArray[np.int64]) -> Array:
    """``(N,)`` to ``(N, classes)``."""
    return np.eye(int(labels.max()) + 1)[labels]


def measure(laboratory: Laboratory) -> Measured:
    wine = load_wine()
    images = laboratory.splits().train
    if len(images) > 2 * FEW:
        images = laboratory.splits(FEW).train
    pixels = images.pixels[:].reshape(len(images), -1) / 255.0
    varies = np.flatnonzero(np.ptp(pixels, axis=0) > 0)
    inputs = {"table": wine.data, "images": pixels[:, varies]}
    targets = {"table": one_hot(wine.target), "images": one_hot(images.labels)}
    data = {"table": "wine", "images": laboratory.dataset}
    numbers: dict[str, Number] = {}
    points: dict[str, dict[str, Array]] = {}
    descents: dict[str, dict[str, Descent]] = {}
    pairs = {source: most_correlated(x) for source, x in inputs.items()}
    for source, x in inputs.items():
        made = versions(x, EPSILON if source == "images" else 0.0)
        points[source] = {name: z[:, list(pairs[source])] for name, z in made.items()}
        descents[source] = {name: descend(z, targets[source], DESCENT, REACHED) for name, z in made.items()}
        for name, z in made.items():
            numbers |= _numbers(source, data[source], name, descents[source][name])
            epochs, _ = cross_entropy_epochs(z, targets[source], RATES, CROSS_ENTROPY, HORIZON)
            numbers[f"{source}_{name}_softmax"] = Number(
                value=f"more than {HORIZON}" if epochs is None else epochs,
                label=f"{data[source]}, {name}: epochs to 1 % of the cross-entropy at the start, best rate",
            )
    numbers["formula"] = Number(
        value=max(
            _difference(descent) for by_version in descents.values() for descent in by_version.values()
        ),
        label="largest difference between the measured excess loss and the formula, of that at the start",
    )
    values = {key: number.value for key, number in numbers.items()}
    names = {
        "table": tuple(wine.feature_names[feature].replace("_", " ") for feature in pairs["table"]),
        "images": tuple(f"pixel {varies[feature]}" for feature in pairs["images"]),
    }
    return Measured(
        numbers=numbers,
        evidence=ScaledDescents(pairs, names, points, descents, data),
        findings=_findings(values, data),
        conditions=(
            f"Table: the wines of scikit-learn, {len(wine.data)} with {wine.data.shape[1]} features, 3 classes. Images:"
            f" {len(images):,} training images of {laboratory.dataset} with levels from 0 to 1, the"
            f" {len(varies)} pixels that are not constant. Full batches: one step an epoch. ε = 0 for the table,"
            f" {EPSILON:g} of the largest variance for the images."
        ),
        tables=[_steps_table(values, data, descents), _epsilon_table(inputs["images"], targets["images"])],
    )


def most_correlated(x: Array) -> tuple[int, int]:
    """The two features of largest absolute correlation, among the half of them with the larger deviations.

    What is plotted should show a correlation, not two events that are rare together.
    """
    correlation = np.abs(np.corrcoef(x.T))
    spread = x.std(0)
    rare = spread < np.median(spread)
    correlation[rare] = correlation[:, rare] = 0
    first, second = np.unravel_index(int(np.triu(correlation, 1).argmax()), correlation.shape)
    return int(first), int(second)


def _numbers(source: str, data: str, name: str, descent: Descent) -> dict[str, Number]:
    how = "" if descent.measured else ", by the formula"
    return {
        f"{source}_{name}_condition": Number(
            value=descent.condition, label=f"{data}, {name}: condition number of H"
        ),
        f"{source}_{name}_epochs": Number(
            value=descent.epochs, label=f"{data}, {name}: epochs to 1 % of the excess loss{how}"
        ),
    }


def _difference(descent: Descent) -> float:
    return float(np.abs(descent.excess - descent.closed_form).max())


def _three_digits(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.0f}"


def _findings(values: Values, data: Mapping[str, str]) -> str:
    sentences = []
    for source in SOURCES:
        chain = ", ".join(
            f"{name} {_three_digits(values[f'{source}_{name}_condition'])}" for name in VERSIONS
        )
        epochs = ", ".join(_three_digits(values[f"{source}_{name}_epochs"]) for name in VERSIONS)
        sentences.append(
            f"On {data[source]} the condition number is about {chain}; in that order gradient descent needs {epochs}"
            " epochs to remove 99 % of the excess loss."
        )
    if values["images_whitened_condition"] > values["images_scaled_condition"]:
        sentences.append(
            "That of the whitened images stays above that of the scaled ones because of ε, which leaves the weakest"
            " directions small (the second table has ε = 0); how long descent takes also depends on how much of the"
            " loss lies there."
        )
    sentences.append(
        f"The measured curves follow the formula to {values['formula']:.0e} of the excess at the start, so where a"
        " thousand epochs were not enough, the formula counts the rest."
    )
    return " ".join(sentences)


def _steps_table(
    values: Values, data: Mapping[str, str], descents: Mapping[str, Mapping[str, Descent]]
) -> Table:
    rows = []
    for source in SOURCES:
        for name in VERSIONS:
            descent = descents[source][name]
            softmax = values[f"{source}_{name}_softmax"]
            rows.append(
                [
                    f"{data[source]}, {name}",
                    f"{descent.eigenvalues[0]:.3g}",
                    f"{descent.condition:,.0f}",
                    f"{1 / descent.eigenvalues[0]:.2g}",
                    f"{descent.epochs:,}{'' if descent.measured else ' (formula)'}",
                    softmax if isinstance(softmax, str) else f"{softmax:,}",
                ]
            )
    return Table(
        title="Every step, squared loss with η = 1/hmax and cross-entropy with the best of ten rates",
        columns=["inputs", "hmax", "condition number", "η", "epochs, squared loss", "epochs, cross-entropy"],
        rows=rows,
    )


def _epsilon_table(x: Array, targets: Array) -> Table:
    variances = fit_whitening(x).variances
    rows = []
    for epsilon in EPSILONS:
        added = epsilon * variances[0]
        descent = descend(fit_whitening(x, float(added)).zca(x), targets, 50, REACHED)
        rows.append(
            [
                f"{epsilon:g}",
                f"{descent.condition:,.0f}",
                f"{descent.epochs:,}",
                f"{1 / np.sqrt(variances[0] + added):.2g}",
                f"{1 / np.sqrt(variances[-1] + added):,.1f}",
            ]
        )
    return Table(
        title="Whitened images: ε against noise. The gain is what a change of 1 becomes along a direction",
        columns=[
            "ε ÷ largest λ",
            "condition number",
            "epochs",
            "gain, strongest direction",
            "gain, weakest direction",
        ],
        rows=rows,
    )
