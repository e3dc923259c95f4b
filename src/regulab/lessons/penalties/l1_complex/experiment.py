"""Whether a penalty decides what can be learned: L1 and L2 on a simple and on two complex targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Answer, Measured, Number, Table, Values, graded
from regulab.lessons.penalties.l1_complex.small_networks import Networks, initial_networks, outputs, train
from regulab.lessons.penalties.l1_complex.targets import (
    COMPLEX,
    INPUTS,
    TARGETS,
    TEST,
    TRAIN,
    Samples,
    explained,
    sample,
)
from regulab.lessons.penalties.linear import Array, lasso_path, ridge_path
from regulab.statistics.paired import paired_verdicts
from regulab.streams import Streams
from regulab.techniques.l1 import L1
from regulab.techniques.l2 import L2
from regulab.techniques.technique import Technique


@dataclass(frozen=True)
class Fits:
    """Scores of networks over seeds, penalties (L1, L2) and strengths ``(S, 2, L)``: R² in percent.

    ``kept`` is the percentage of weights that are not zero; ``used`` ``(S, 2, L, 10)``: which inputs reach the output.
    """

    validation: Array
    test: Array
    kept: Array
    used: NDArray[np.bool_]

    @property
    def chosen(self) -> NDArray[np.int64]:
        """Index of the strength with the best validation score ``(S, 2)``."""
        best: NDArray[np.int64] = self.validation.argmax(2)
        return best

    def at_chosen(self, values: Array) -> Array:
        """``(S, 2, L)`` at the chosen strengths: ``(S, 2)``."""
        picked: Array = np.take_along_axis(values, self.chosen[..., None], 2)[..., 0]
        return picked

    @property
    def best(self) -> Array:
        """Test scores at the strengths chosen on validation ``(S, 2)``."""
        return self.at_chosen(self.test)

    @property
    def used_at_chosen(self) -> NDArray[np.bool_]:
        picked: NDArray[np.bool_] = np.take_along_axis(self.used, self.chosen[..., None, None], 2)[:, :, 0]
        return picked


@dataclass(frozen=True)
class PenalizedFits:
    """``layers``: w1 ``(10, H)`` of the first seed's chosen network by penalty, on the target with few inputs."""

    strengths: Array
    fits: Mapping[str, Fits]
    linear: Mapping[str, Array]  # (S, 2)
    layers: Mapping[str, NDArray[np.float32]]
    relevant: Mapping[str, int]


SEEDS, HIDDEN, STEPS, RATE = 8, 24, 600, 0.02
STRENGTHS = np.logspace(-4, -0.5, 8)
MARGIN = 1.0  # percentage points of explained variance under which a difference does not matter
FEW = 50.0  # percent of the weights
PENALTIES = ("L1", "L2")


def arms() -> list[list[Technique]]:
    """The penalties of the path: every strength of L1, then every strength of L2."""
    ones: list[list[Technique]] = [[L1(strength=float(s))] for s in STRENGTHS]
    return ones + [[L2(strength=float(s))] for s in STRENGTHS]


def fit_networks(samples: Sequence[Samples], seeds: Sequence[int]) -> tuple[Fits, Networks]:
    """A network for every sample, penalty and strength; scores of shape ``(S, 2, L)``."""
    path = arms()
    start = {
        name: w.repeat_interleave(len(path), 0) for name, w in initial_networks(seeds, INPUTS, HIDDEN).items()
    }

    def repeated(part: str) -> tuple[Tensor, Tensor]:
        pairs = [getattr(sample_of_seed, part) for sample_of_seed in samples]
        x, y = (
            torch.stack(list(tensors)).repeat_interleave(len(path), 0) for tensors in zip(*pairs, strict=True)
        )
        return x, y

    trained = train(start, *repeated("train"), path * len(samples), STEPS, RATE)
    shape = (len(samples), len(PENALTIES), len(STRENGTHS))

    def score(part: str) -> Array:
        x, y = repeated(part)
        return explained(outputs(trained, x), y).reshape(shape)

    weights = sum(trained[name].flatten(1).count_nonzero(1) for name in ("w1", "w2"))
    total = INPUTS * HIDDEN + HIDDEN
    used = (trained["w1"] * trained["w2"].transpose(1, 2) != 0).any(2)
    return Fits(
        validation=score("validation"),
        test=score("test"),
        kept=(100 * weights.double() / total).numpy().reshape(shape),  # type: ignore[union-attr]
        used=used.numpy().reshape(*shape, INPUTS),
    ), trained


def linear_scores(samples: Samples) -> list[float]:
    """R² (percent) on test of Lasso and Ridge on the inputs as they are, strengths chosen on validation."""
    x, y = (t.double().numpy() for t in samples.train)
    centre, mean = x.mean(0), y.mean()
    m, falling = len(y), STRENGTHS[::-1]
    paths = (
        lasso_path(x - centre, y - mean, 2 * m * falling),
        ridge_path(x - centre, y - mean, m * falling),
    )
    scores = []
    for path in paths:

        def predict(part: tuple[Tensor, Tensor], path: Array = path) -> Array:
            guesses = (part[0].double().numpy() - centre) @ path.T + mean
            return explained(torch.from_numpy(guesses.T), part[1].double())

        scores.append(float(predict(samples.test)[predict(samples.validation).argmax()]))
    return scores


def measure(laboratory: Laboratory) -> Measured:
    seeds = list(range(SEEDS))
    fits: dict[str, Fits] = {}
    linear: dict[str, Array] = {}
    shown: dict[str, NDArray[np.float32]] = {}
    for name, (target, _) in TARGETS.items():
        laboratory.progress.message(f"l1-complex: target {name}, {SEEDS * 2 * len(STRENGTHS)} networks")
        samples = [sample(target, seed) for seed in seeds]
        fits[name], trained = fit_networks(samples, seeds)
        linear[name] = np.array([linear_scores(sample_of_seed) for sample_of_seed in samples])
        if name == COMPLEX[0]:
            shown = _first_layers(fits[name], trained)
    verdicts = paired_verdicts(
        {name: fit.best[:, 0] - fit.best[:, 1] for name, fit in fits.items()},
        MARGIN,
        Streams("l1-complex", 0).generator("sign_flip", "L1"),
    )
    numbers = _numbers(fits, linear, verdicts)
    relevant = {name: count for name, (_, count) in TARGETS.items()}
    return Measured(
        numbers=numbers,
        evidence=PenalizedFits(STRENGTHS, fits, linear, shown, relevant),
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"{SEEDS} seeds; for each {TRAIN} noisy examples to train, {TRAIN} to choose the strength, {TEST:,} without"
            f" noise to test; networks 10 → {HIDDEN} tanh → 1, {STEPS} steps of Adam over all examples; strengths"
            f" {STRENGTHS[0]:g} to {STRENGTHS[-1]:.2g} of regulab's λ₁ and λ₂. Artificial data, whatever `--data` says."
        ),
        tables=[_table(fits, linear, verdicts)],
    )


def _first_layers(fits: Fits, trained: Networks) -> dict[str, NDArray[np.float32]]:
    """w1 ``(10, H)`` of the chosen networks of the first seed, the unit with the largest w2 first."""
    layers = {}
    for index, penalty in enumerate(PENALTIES):
        row = index * len(STRENGTHS) + int(fits.chosen[0, index])
        order = trained["w2"][row, :, 0].abs().argsort(descending=True)
        layers[penalty] = trained["w1"][row][:, order].numpy()
    return layers


def _numbers(
    fits: Mapping[str, Fits], linear: Mapping[str, Array], verdicts: Mapping[str, str]
) -> dict[str, Number]:
    numbers = {}
    for name, fit in fits.items():
        relevant = TARGETS[name][1]
        for index, penalty in enumerate(PENALTIES):
            numbers[f"{penalty}: {name}"] = Number(
                value=float(fit.best[:, index].mean()),
                label=f"variance explained by the {penalty} network, {name}",
                unit="%",
            )
            numbers[f"linear {penalty}: {name}"] = Number(
                value=float(linear[name][:, index].mean()),
                label=f"variance explained by the linear model with {penalty}, {name}",
                unit="%",
            )
        numbers[f"verdict: {name}"] = Number(
            value=verdicts[name], label=f"L1 network against L2 network, {name}"
        )
        numbers[f"kept: {name}"] = Number(
            value=float(fit.at_chosen(fit.kept)[:, 0].mean()),
            label=f"weights that L1 left non-zero in the network, {name}",
            unit="%",
        )
        if relevant < INPUTS:
            cut = ~fit.used_at_chosen[:, 0, relevant:]
            numbers[f"cut: {name}"] = Number(
                value=float(cut.mean()) * 100,
                label=f"irrelevant inputs that L1 cut off from the network, {name}",
                unit="%",
            )
    return numbers


def _findings(values: Values) -> str:
    words = "; ".join(
        f"{name}: L1 {values[f'L1: {name}']:.1f} %, L2 {values[f'L2: {name}']:.1f} % (L1 is"
        f" {values[f'verdict: {name}']})"
        for name in TARGETS
    )
    linear = max(values[f"linear {p}: {name}"] for p in PENALTIES for name in COMPLEX)
    kept = max(values[f"kept: {name}"] for name in TARGETS)
    readable = readable_with_l1(values) == Answer.HOLDS
    return (
        f"Variance explained by the networks: {words}. A linear model explains at most {linear:.0f} % of a complex"
        f" target, with either penalty. L1 leaves at most {kept:.0f} % of the weights on average; at the strength that"
        f" predicts best it cuts off {values['cut: simple']:.0f} % of the irrelevant inputs of the simple target and"
        f" {values['cut: ' + COMPLEX[0]]:.0f} % of those of the complex one"
        + ("." if readable else ": fewer weights do not yet make a model that one can read.")
        + " In the first figure, follow a line from weak to strong penalties: too weak fits the noise, too strong gives"
        " up the target, and the best strength of one penalty need not be that of the other."
    )


def _table(fits: Mapping[str, Fits], linear: Mapping[str, Array], verdicts: Mapping[str, str]) -> Table:
    rows = []
    for name, fit in fits.items():
        for index, penalty in enumerate(PENALTIES):
            relevant = TARGETS[name][1]
            used = fit.used_at_chosen[:, index]
            rows.append(
                [
                    f"{name}: {penalty}",
                    f"{STRENGTHS[np.median(fit.chosen[:, index]).astype(int)]:.1g}",
                    f"{fit.best[:, index].mean():.1f}",
                    f"{linear[name][:, index].mean():.1f}",
                    f"{fit.at_chosen(fit.kept)[:, index].mean():.0f}",
                    f"{used[:, :relevant].sum(1).mean():.1f} of {relevant}",
                    f"{used[:, relevant:].sum(1).mean():.1f} of {INPUTS - relevant}"
                    if relevant < INPUTS
                    else "–",
                    verdicts[name] if penalty == "L1" else "",
                ]
            )
    return Table(
        title=f"At the strengths chosen on validation: means over {SEEDS} seeds",
        columns=[
            "target: penalty",
            "median λ",
            "network R² (%)",
            "linear R² (%)",
            "weights kept (%)",
            "relevant inputs used",
            "irrelevant inputs used",
            "L1 against L2",
        ],
        rows=rows,
    )


def readable_with_l1(values: Values) -> Answer:
    names = [name for name, (_, relevant) in TARGETS.items() if relevant < INPUTS]
    few = all(values[f"kept: {name}"] <= FEW for name in names)
    return graded(few and all(values[f"cut: {name}"] >= 50 for name in names), in_part=few)
