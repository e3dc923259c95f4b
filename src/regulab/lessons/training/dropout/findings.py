"""What the lesson ``dropout`` says about its evidence: numbers, tables, sentences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from regulab.lessons.kit.directions import directions, interval_text
from regulab.lessons.kit.lesson import Number, Table, Values
from regulab.lessons.training.dropout.effects import DropoutEffects
from regulab.lessons.training.dropout.masks import LAYER_DRAWS, RATE, Expectation
from regulab.statistics.intervals import PERCENT, POINTS, UNIT

STRAYED, SHARE = 3.0, 0.01  # a logit further off has strayed; chance alone makes 0.27 % of them


def expectation_numbers(layer: Expectation, network: Expectation) -> dict[str, Number]:
    spread = float(np.std(network.inference))
    bias = float(np.sqrt(np.mean((network.mean - network.inference) ** 2)))
    strayed = float(100 * np.mean(np.abs(network.off) > STRAYED))
    return {
        "layer_off": Number(
            value=float(np.abs(layer.off).max()),
            label="a dropped layer: largest distance of a unit's mean over draws from inference",
            unit="standard errors",
        ),
        "variance_ratio": Number(
            value=layer.variance_ratio,
            label="variance of a dropped unit, measured over p/(1 − p)·x²",
            digits=4,
        ),
        "logits_strayed": Number(
            value=strayed,
            label=f"logits whose mean over draws is more than {STRAYED:g} standard errors from inference",
            unit="%",
        ),
        "logits_off": Number(
            value=100 * bias / spread,
            label="their root mean square distance, over the deviation of the logits",
            unit="%",
        ),
        "same_class": Number(
            value=network.same_class,
            label="images that mean over draws and inference classify alike",
            unit="%",
        ),
    }


def effect_numbers(evidence: DropoutEffects) -> dict[str, Number]:
    measures = {
        "gap": ("gap", {r: evidence.train[r] - evidence.test[r] for r in evidence.test}),
        "deletion": ("accuracy lost by deleting a channel", evidence.deletion),
        "correlation": ("mean |correlation| of channels", evidence.correlation),
    }
    rates = [rate for rate in evidence.test if rate > 0]
    words_of_measures = {"verdicts": ("test accuracy", {rate: evidence.verdicts[rate] for rate in rates})}
    for name, (label, results) in measures.items():
        # one family a measure: with 8 seeds and both measures in one, ten p could not fall under 0.05
        changes = directions({f"{rate:g}": results[rate] - results[0] for rate in rates})
        words_of_measures[f"{name}_words"] = (label, {rate: changes[f"{rate:g}"] for rate in rates})
    numbers = {
        key: Number(value=in_words(by_rate), label=f"{label}, by rate, against rate 0")
        for key, (label, by_rate) in words_of_measures.items()
    }
    for rate in (0, RATE):
        numbers[f"norm_variance_{rate:g}"] = Number(
            value=float(evidence.norm_variance[rate].mean()),
            label=f"variance before the last norm, inference over running average, rate {rate:g}",
        )
    return numbers


def in_words(by_rate: Mapping[float, str]) -> str:
    """``0.1 better, 0.3 worse``: a word for each rate."""
    return ", ".join(f"{rate:g} {word}" for rate, word in by_rate.items())


def words_by_rate_of(text: str) -> dict[str, str]:
    return dict(pair.split(" ", 1) for pair in text.split(", "))


def tables(evidence: DropoutEffects, values: Values) -> list[Table]:
    words_by_rate = {
        name: words_by_rate_of(values[f"{name}_words"]) for name in ("gap", "deletion", "correlation")
    }

    def word(name: str, rate: float) -> str:
        return words_by_rate[name][f"{rate:g}"] if rate else "baseline"

    accuracy = [
        [
            f"{rate:g}",
            interval_text(evidence.train[rate], bounds=PERCENT),
            interval_text(evidence.test[rate], bounds=PERCENT),
            evidence.verdicts[rate],
            interval_text(evidence.train[rate] - evidence.test[rate], bounds=POINTS),
            word("gap", rate),
        ]
        for rate in evidence.test
    ]
    units = [
        [
            f"{rate:g}",
            interval_text(evidence.deletion[rate], 2, POINTS),
            word("deletion", rate),
            interval_text(evidence.correlation[rate], 3, UNIT),
            word("correlation", rate),
            f"{evidence.norm_variance[rate].mean():.2f}",
        ]
        for rate in evidence.test
    ]
    return [
        Table(
            title="Accuracies in percent and gap in points: means over the seeds with 95 % intervals",
            columns=["rate", "training", "test", "test against 0", "gap", "gap against 0"],
            rows=accuracy,
        ),
        Table(
            title=(
                "Points lost by deleting a channel, mean |correlation| of channels, and the variance before the last"
                " norm in inference over its running average"
            ),
            columns=["rate", "points lost", "against 0", "correlation", "against 0", "variance ratio"],
            rows=units,
        ),
    ]


def findings(values: Values) -> str:
    useful = _useful(values)
    listed = {name: ", ".join(words) for name, words in words_at_useful(values).items()}
    approximate = (
        "so inference only approximates the average over masks"
        if values["logits_strayed"] > 100 * SHARE
        else "no more than chance allows"
    )
    ratio, ratio_0 = values[f"norm_variance_{RATE:g}"], values["norm_variance_0"]
    shifted = (
        f" At rate {RATE:g} the variance before the last norm is in inference {ratio:.2f} of its running average"
        f" ({ratio_0:.2f} at rate 0): the average still counts the noise that is gone."
        if ratio < ratio_0
        else ""
    )
    judged = (
        f"At the rates whose verdict is not worse ({', '.join(useful)}), in this order and against rate 0, the gap is"
        f" {listed['gap']}; the accuracy lost by deleting a channel {listed['deletion']}; the correlation of channels"
        f" {listed['correlation']}."
        if useful
        else "Every rate costs accuracy here, so gap and co-adaptation are not judged."
    )
    return (
        f"For a single layer the mean over {LAYER_DRAWS:,} masks is the activation, within {values['layer_off']:.1f}"
        f" standard errors at worst. Behind more layers, {values['logits_strayed']:.0f} % of the logits' means lie more"
        f" than {STRAYED:g} standard errors from inference, {approximate}; {values['same_class']:.0f} % of the"
        f" images get the same class either way. Verdicts on test accuracy by rate: {values['verdicts']}."
        f" {judged}{shifted}"
    )


def _useful(values: Values) -> list[str]:
    """The rates whose test accuracy is not worse than at rate 0."""
    return [
        rate
        for rate, word in words_by_rate_of(values["verdicts"]).items()
        if word not in ("worse", "diverged")
    ]


def words_at_useful(values: Values) -> dict[str, list[str]]:
    """Of each measure, how it changed at those rates."""
    return {
        name: [words_by_rate_of(values[f"{name}_words"])[rate] for rate in _useful(values)]
        for name in ("gap", "deletion", "correlation")
    }
