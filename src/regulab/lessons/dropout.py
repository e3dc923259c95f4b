"""Dropout: what is dropped, what stays the same on average, and what it does to co-adaptation, gap and accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regulab.lessons.dropout_figures import DRAWS_SHOWN, Evidence, Expectation, Masks, draw
from regulab.lessons.laboratory import Laboratory, Trial
from regulab.lessons.lesson import UNDECIDED, Answer, Claim, Lesson, Measured, Number, Table, Values, graded
from regulab.lessons.pairs import interval_text, words
from regulab.models.layers.dropout import Dropout, DropoutDraws
from regulab.models.norms.batch import BatchNorm
from regulab.streams import Streams

IMAGES, BATCH = 100, 16
RATE = 0.3  # where one rate is looked at
LAYER_DRAWS, NETWORK_DRAWS = 4000, 300  # masks for one layer of one image, and for the network
PROBED = 100  # images
FURTHEST = 5.0  # standard errors: over a few thousand units chance goes so far once in 500 runs
STRAYED, SHARE = 3.0, 0.01  # a logit further off has strayed; chance alone makes 0.27 % of them
TEXT = r"""
In training, a dropout layer sets every activation to 0 with probability $p$, each on its own, and divides the others
by $1 - p$:

$$y = \frac{m\,x}{1 - p}, \qquad P(m = 1) = 1 - p, \quad P(m = 0) = p .$$

What is dropped here are single elements of the maps, not whole channels, anew for every image and every step. Then

$$\mathbb{E}[y] = x, \qquad \mathrm{Var}[y] = \frac{p}{1 - p}\,x^2 .$$

The expectation is that of inference, which uses $y = x$ and no mask at all: the division in training is there so that
inference needs no change. The variance is new: it is noise that grows with the activation and with $p$.

Behind the next nonlinearity $f$ the expectation is **not** kept, since in general $\mathbb{E}[f(y)] \neq
f(\mathbb{E}[y])$. For a bend as in ReLU, $\mathbb{E}[\max(0, y)] \geq \max(0, \mathbb{E}[y])$. So inference without
masks approximates the average over all thinned networks; how well is measured on the logits.

**Co-adaptation** means that a unit is useful only together with particular others. Two measures of it: how many
points of accuracy are lost when one channel is deleted (set to 0) at inference, averaged over all channels of all
blocks, and the mean absolute correlation between the channels of a block,

$$\bar\rho = \frac{1}{C(C-1)} \sum_{i \neq j} \left\lvert \mathrm{corr}(a_i, a_j) \right\rvert ,$$

over images and places, averaged over the blocks. Whole channels were never dropped in training, so the
first does not merely repeat the exercise that the network was trained on.

A network that has learned nothing has no gap, and loses nothing when a channel goes. So gap and co-adaptation are
judged at the rates whose verdict on test accuracy is not `worse`; the others are shown.

The variance has a consequence where batch norm follows, as in these networks. Its running variance, which inference
divides by, was averaged over inputs with that noise; in inference the noise is gone and the variance is smaller, more
so the higher the rate and the deeper the layer. "No change in inference" is then not the whole truth.
"""


def drop_at(module: nn.Module, rate: float, streams: Streams) -> None:
    """Inference mode, but every dropout layer drops at ``rate`` with the draws of ``streams``."""
    module.eval()
    draws = DropoutDraws(streams)
    draws.bind(module)
    draws.begin(1)
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.rate = rate
            layer.train()


def standard_errors_off(samples: Tensor, expected: Tensor) -> Tensor:
    """(mean − expected)/(s/√K) for ``samples`` ``(K, …)`` and ``expected`` ``(…)``; s with K − 1, nan where s = 0."""
    error = samples.std(0, correction=1) / math.sqrt(len(samples))
    return torch.where(error > 0, (samples.mean(0) - expected) / error, torch.nan)


def deletion_cost(blocks: Sequence[nn.Module], classify: nn.Module, x: Tensor, labels: Tensor) -> float:
    """Points of accuracy lost when one channel of one block's output is set to 0: the mean over all of them.

    ``blocks`` in a row, then the mean over the map and ``classify``; images ``(N, C, H, W)``, inference mode.
    """

    def accuracy(x: Tensor, remaining: Sequence[nn.Module], labels: Tensor) -> Tensor:
        for block in remaining:
            x = block(x)
        return (classify(x.mean((2, 3))).argmax(1) == labels).double().mean() * 100

    lost = []
    with torch.no_grad():
        whole = accuracy(x, blocks, labels)
        for place, block in enumerate(blocks, start=1):
            x = block(x)
            channels = x.shape[1]
            thinned = x * (1 - torch.eye(channels))[:, None, :, None, None]  # (C deleted, N, C, H, W)
            lost.append(whole - accuracy(thinned.flatten(0, 1), blocks[place:], labels.repeat(channels)))
    return float(torch.stack(lost).mean())


def mean_correlation(blocks: Sequence[nn.Module], x: Tensor) -> float:
    """Mean absolute correlation between two channels of a block over images and places, averaged over blocks.

    Channels that do not vary are left out. Images ``(N, C, H, W)``.
    """
    means = []
    with torch.no_grad():
        for block in blocks:
            x = block(x)
            channels = x.transpose(0, 1).flatten(1).double()
            channels = channels[channels.std(1) > 0]
            others = ~torch.eye(len(channels), dtype=torch.bool)
            means.append(torch.corrcoef(channels)[others].abs().mean())
    return float(torch.stack(means).nanmean())


def _measure(laboratory: Laboratory) -> Measured:
    rates, seeds, epochs = (
        ((0, 0.1, 0.2, RATE, 0.5, 0.7), 8, 60) if laboratory.embedded else ((0, 0.1, RATE, 0.5), 7, 30)
    )
    trial = laboratory.train(
        {
            "name": "dropout",
            "model": {"dropout": 0},
            "data": {"train_images": IMAGES},
            "protocol": {"validation": None if laboratory.embedded else 500},
            "train": {"epochs": epochs, "batch_size": BATCH},
            "seeds": seeds,
            "arms": {_arm(rate): {"dropout": rate} for rate in rates},
        }
    )
    module = trial.module(_arm(RATE), 0)
    x, _ = trial.images("validation", PROBED)
    masks, layer = _layer(trial, module, x)
    network = _network(module, x)
    probes = {rate: _probe(trial, _arm(rate), x) for rate in rates}
    train = {rate: trial.results(_arm(rate), "train_accuracy") for rate in rates}
    test = {rate: trial.results(_arm(rate), "test_accuracy") for rate in rates}
    evidence = Evidence(
        rate=RATE,
        masks=masks,
        layer=layer,
        network=network,
        train=train,
        test=test,
        verdicts={rate: trial.verdict(_arm(rate)) for rate in rates},
        deletion={rate: probe[0] for rate, probe in probes.items()},
        correlation={rate: probe[1] for rate, probe in probes.items()},
        norm_variance={rate: probe[2] for rate, probe in probes.items()},
    )
    numbers = {**_expectation_numbers(layer, network), **_effect_numbers(evidence)}
    values = {key: number.value for key, number in numbers.items()}
    return Measured(
        numbers=numbers,
        evidence=evidence,
        findings=_findings(values),
        conditions=(
            f"{IMAGES} training images of {laboratory.dataset}, cnn10k, {epochs} epochs of batches of {BATCH}, {seeds}"
            f" seeds. Masks: first block, rate {RATE:g}, {LAYER_DRAWS:,} draws for one image; logits: all five dropout"
            f" layers, {NETWORK_DRAWS} draws for each of {len(x)} validation images, batch norm in inference mode."
            " Co-adaptation: the same images. Verdicts: paired sign-flip tests over the seeds, Holm-adjusted over the"
            " rates, each measure on its own."
        ),
        tables=_tables(evidence, values),
    )


def _arm(rate: float) -> str:
    return f"dropout {rate:g}"


def _layer(trial: Trial, module: nn.Module, x: Tensor) -> tuple[Masks, Expectation]:
    """Draws of the first block's dropout layer for one image, and how far their mean is from its input."""
    block = module.get_submodule("blocks.0")
    layer = block.get_submodule("dropout")
    image = x[:1]
    with torch.no_grad():
        activations = module.eval().get_submodule("blocks.0")(image)
        drop_at(module, RATE, Streams("lesson dropout", 0))
        y = layer(activations.expand(LAYER_DRAWS, -1, -1, -1))
        dropped = layer(torch.ones_like(y[:DRAWS_SHOWN])) == 0
    shown = layer_draws(activations, dropped)
    active = (activations > 0)[0]
    z = standard_errors_off(y.double(), activations[0].double())
    ratio = y.double().var(0)[active] / (activations[0].double()[active].square() * RATE / (1 - RATE))
    pixels = trial.splits.validation.pixels[0].astype(np.float32) / np.float32(255)
    masks = Masks(
        image=pixels,
        activations=activations[0].numpy(),
        draws=shown.numpy(),
        dropped=dropped.numpy(),
        mean=y.mean(0).numpy(),
    )
    return masks, Expectation(
        inference=activations[0][active].numpy(),
        mean=y.mean(0)[active].numpy(),
        off=z[active].numpy(),
        variance_ratio=float(ratio.mean()),
    )


def layer_draws(activations: Tensor, dropped: Tensor) -> Tensor:
    """Activations ``(1, C, H, W)`` under masks ``(K, C, H, W)``, True where dropped."""
    return (activations / (1 - RATE)).masked_fill(dropped, 0)


def _network(module: nn.Module, x: Tensor) -> Expectation:
    """Logits ``(N · classes,)``: without masks, and averaged over masks in all dropout layers."""
    with torch.no_grad():
        inference = module.eval()(x)
        drop_at(module, RATE, Streams("lesson dropout", 1))
        samples = torch.stack([module(x) for _ in range(NETWORK_DRAWS)])
    return Expectation(
        inference=inference.flatten().numpy(),
        mean=samples.mean(0).flatten().numpy(),
        off=standard_errors_off(samples.double(), inference.double()).flatten().numpy(),
        same_class=float((samples.mean(0).argmax(1) == inference.argmax(1)).double().mean() * 100),
    )


def _probe(trial: Trial, arm: str, x: Tensor) -> NDArray[np.float64]:
    """Deletion cost, correlation and the last norm's `variance_in_inference` of an arm's networks: ``(3, S)``."""
    labels = trial.images("validation", PROBED)[1]
    trained_on, _ = trial.images("train")
    found = []
    for seed in trial.study.seeds:
        module = trial.module(arm, seed)
        blocks = list(module.get_submodule("blocks").children())
        cost = deletion_cost(blocks, module.get_submodule("classify"), x, labels)
        found.append((cost, mean_correlation(blocks, x), variance_in_inference(blocks, trained_on)))
    return np.array(found).T


def variance_in_inference(blocks: Sequence[nn.Module], x: Tensor) -> float:
    """Variance of the last block's norm's input in inference over the norm's running variance: the median channel."""
    inputs: list[Tensor] = []
    norm = blocks[-1].get_submodule("norm")
    assert isinstance(norm, BatchNorm)
    handle = norm.register_forward_hook(lambda _layer, given, _output: inputs.append(given[0]))
    with torch.no_grad():
        for block in blocks:
            x = block(x)
    handle.remove()
    return float((inputs[0].var((0, 2, 3)) / norm.running_var).median())


def _expectation_numbers(layer: Expectation, network: Expectation) -> dict[str, Number]:
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


def _effect_numbers(evidence: Evidence) -> dict[str, Number]:
    measures = {
        "gap": ("gap", {r: evidence.train[r] - evidence.test[r] for r in evidence.test}),
        "deletion": ("accuracy lost by deleting a channel", evidence.deletion),
        "correlation": ("mean |correlation| of channels", evidence.correlation),
    }
    rates = [rate for rate in evidence.test if rate > 0]
    found = {"verdicts": ("test accuracy", {rate: evidence.verdicts[rate] for rate in rates})}
    for name, (label, results) in measures.items():
        # one family a measure: with 8 seeds and both measures in one, ten p could not fall under 0.05
        changes = words({f"{rate:g}": results[rate] - results[0] for rate in rates})
        found[f"{name}_words"] = (label, {rate: changes[f"{rate:g}"] for rate in rates})
    numbers = {
        key: Number(value=in_words(by_rate), label=f"{label}, by rate, against rate 0")
        for key, (label, by_rate) in found.items()
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


def _by_rate(text: str) -> dict[str, str]:
    return dict(pair.split(" ", 1) for pair in text.split(", "))


def _tables(evidence: Evidence, values: Values) -> list[Table]:
    words_by_rate = {name: _by_rate(values[f"{name}_words"]) for name in ("gap", "deletion", "correlation")}

    def word(name: str, rate: float) -> str:
        return words_by_rate[name][f"{rate:g}"] if rate else "baseline"

    accuracy = [
        [
            f"{rate:g}",
            interval_text(evidence.train[rate]),
            interval_text(evidence.test[rate]),
            evidence.verdicts[rate],
            interval_text(evidence.train[rate] - evidence.test[rate]),
            word("gap", rate),
        ]
        for rate in evidence.test
    ]
    units = [
        [
            f"{rate:g}",
            interval_text(evidence.deletion[rate], 2),
            word("deletion", rate),
            interval_text(evidence.correlation[rate], 3),
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


def _findings(values: Values) -> str:
    useful = _useful(values)
    listed = {name: ", ".join(found) for name, found in _words_at_useful(values).items()}
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
    return [rate for rate, word in _by_rate(values["verdicts"]).items() if word not in ("worse", "diverged")]


def _words_at_useful(values: Values) -> dict[str, list[str]]:
    """Of each measure, how it changed at those rates."""
    return {
        name: [_by_rate(values[f"{name}_words"])[rate] for rate in _useful(values)]
        for name in ("gap", "deletion", "correlation")
    }


def _expectation_kept(values: Values) -> Answer:
    layer = values["layer_off"] < FURTHEST
    return graded(layer and values["logits_strayed"] < 100 * SHARE, in_part=layer)


def _less_adapted(values: Values) -> Answer:
    found = _words_at_useful(values)
    both = found["deletion"] + found["correlation"]
    return graded(set(both) == {"lower"}, in_part="lower" in both, tests=both or [UNDECIDED])


def _narrower(values: Values) -> Answer:
    found = _words_at_useful(values)["gap"]
    return graded(set(found) == {"lower"}, in_part="lower" in found, tests=found or [UNDECIDED])


def _better(values: Values) -> Answer:
    verdicts = list(_by_rate(values["verdicts"]).values())
    better, worse = "better" in verdicts, "worse" in verdicts or "diverged" in verdicts
    return graded(better and not worse, in_part=better, tests=verdicts)


LESSON = Lesson(
    name="dropout",
    order=120,
    title="Dropout: what is dropped, what it keeps, what it changes",
    claims=[
        Claim(
            statement="Dropout keeps the expectation of activations, so that inference needs no change.",
            rule=(
                f"holds if every unit's mean over {LAYER_DRAWS:,} draws is within {FURTHEST:g} standard errors of the"
                f" activation in inference, and fewer than {100 * SHARE:g} % of the network's logits are more than"
                f" {STRAYED:g} standard errors off; in part if only the former (one layer, not the network); else it"
                " does not"
            ),
            judge=_expectation_kept,
        ),
        Claim(
            statement="Dropout reduces the co-adaptation of units.",
            rule=(
                "holds if, at every rate whose verdict on test accuracy is not `worse`, deleting a channel costs less"
                " accuracy and channels correlate less than at rate 0 (paired sign-flip tests over the seeds,"
                " Holm-adjusted p below 0.05); in part if one of these; not shown if none of them but one is undecided,"
                " or every rate is `worse`; else it does not"
            ),
            judge=_less_adapted,
        ),
        Claim(
            statement="Dropout narrows the gap between training and test accuracy.",
            rule=(
                "holds if, at every rate whose verdict on test accuracy is not `worse`, the gap is lower than at rate 0"
                " (paired sign-flip tests over the seeds, Holm-adjusted p below 0.05); in part if at some; not shown"
                " if at none but one is undecided, or every rate is `worse`; else it does not"
            ),
            judge=_narrower,
        ),
        Claim(
            statement="Dropout raises the test accuracy of an overfitting network.",
            rule=(
                "holds if the verdict is `better` for some rate and for none `worse` or `diverged`; in part if there is"
                " one `better` beside these; not shown if there is none but one is `undecided`; else it does not"
            ),
            judge=_better,
        ),
    ],
    text=TEXT,
    sources=[
        "Srivastava et al. 2014, Dropout: a simple way to prevent neural networks from overfitting,"
        " [JMLR 15](https://jmlr.org/papers/v15/srivastava14a.html)",
        "Hinton et al. 2012, Improving neural networks by preventing co-adaptation of feature detectors,"
        " [arXiv 1207.0580](https://arxiv.org/abs/1207.0580)",
        "Li et al. 2018, Understanding the disharmony between dropout and batch normalization by variance shift,"
        " [arXiv 1801.05134](https://arxiv.org/abs/1801.05134)",
    ],
    measure=_measure,
    draw=draw,
)
