"""Batch normalization before or after ReLU: accuracy, training, and what the layers then see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from regulab.lessons.bands import BAND, plot_band
from regulab.lessons.budget import few_images
from regulab.lessons.laboratory import Laboratory, Trial
from regulab.lessons.lesson import Claim, Lesson, Measured, Number, Picture, Table, Values, graded
from regulab.lessons.probing import outputs
from regulab.reporting.theme import Theme

ARMS = ("before", "after")
BLOCKS = 5
SHOWN = 3  # the block whose values the figure shows, counted from 0
IMAGES = 200
HALF = (40.0, 60.0)  # percent of a layer's values above 0 that still count as half
TEXT = r"""
With $z = w * x$ the output of a convolution, the two orders are

$$\text{before:}\quad a = \max(0,\ \mathrm{BN}(z)) \qquad\qquad \text{after:}\quad a = \mathrm{BN}(\max(0,\ z + b)) .$$

*Before*, the values that enter ReLU have mean $\beta$ and deviation $\lvert\gamma\rvert$ in every channel. With
$\beta = 0$ about half of them pass and half become 0, whatever the weights are, so no unit is always on or always
off. The next layer receives only values of 0 and above, and their mean is not 0. The bias $b$ would be subtracted out,
so there is none.

*After*, it is the input of the next layer that has mean $\beta$ and deviation $\lvert\gamma\rvert$, so it may be
negative: where ReLU gave 0, the next layer receives $\beta - \gamma\mu/\sqrt{\sigma^2 + \epsilon}$. How much ReLU lets
through is left to $w$ and $b$ (and to max pooling, which stands before both in blocks 1 and 3 and picks large values).

The lecture says that the norm is *usually inserted before the non-linearity*, as its inventors did. Whether that is
better is a question of accuracy: both orders are trained here from the same initial weights on the same batches, seed
by seed, and the differences are tested by the exact paired test of every study.
"""


@dataclass(frozen=True)
class Passed:
    """Values of one block of one trained network: into ReLU, and into the next layer; flattened."""

    relu: NDArray[np.float32]
    following: NDArray[np.float32]


@dataclass(frozen=True)
class Evidence:
    """Curves ``(S, epochs)`` and accuracies ``(S,)`` by arm; values of one network by arm."""

    loss: Mapping[str, NDArray[np.float64]]
    validation: Mapping[str, NDArray[np.float64]]
    accuracy: Mapping[str, NDArray[np.float64]]
    passed: Mapping[str, Passed]
    active: Mapping[str, NDArray[np.float64]]  # (blocks,) percent, mean over seeds


def _measure(laboratory: Laboratory) -> Measured:
    trial = laboratory.train(
        {
            "name": "batch-norm-position",
            "model": {"name": "cnn10k", "dropout": 0},
            "train": {"epochs": 12, "batch_size": 64},
            "seeds": 12 if laboratory.embedded else 8,
            "arms": {arm: {"norm": {"kind": "batch", "position": arm}} for arm in reversed(ARMS)},
            **few_images(laboratory, 1000),
        }
    )
    passed = {arm: _passed(trial, arm) for arm in ARMS}
    active = {
        arm: np.array([[100 * (block.relu > 0).mean() for block in blocks] for blocks in passed[arm]])
        for arm in ARMS
    }
    evidence = Evidence(
        loss={arm: trial.history(arm, "train_loss") for arm in ARMS},
        validation={arm: trial.history(arm, "val_accuracy") for arm in ARMS},
        accuracy={arm: trial.results(arm, "test_accuracy") for arm in ARMS},
        passed={arm: passed[arm][0][SHOWN] for arm in ARMS},
        active={arm: active[arm].mean(0) for arm in ARMS},
    )
    numbers = _numbers(trial, evidence)
    return Measured(
        numbers=numbers,
        evidence=evidence,
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"{laboratory.dataset}: {len(trial.splits.train):,} training images, cnn10k without dropout,"
            f" {trial.study.train.epochs} epochs of one-cycle SGD, {len(trial.study.seeds)} seeds. Activity is"
            f" measured on {IMAGES} validation images in inference mode; the histograms are block {SHOWN + 1} of seed"
            f" {trial.study.seeds[0]}."
        ),
        tables=[_active_table(evidence)],
    )


def _passed(trial: Trial, arm: str) -> list[list[Passed]]:
    """For every seed and block: what enters ReLU, and what leaves the block."""
    x, _ = trial.images("validation", IMAGES)
    last = "norm" if arm == "before" else "pool"  # the part that ReLU follows
    seeds = []
    for seed in trial.study.seeds:
        names = [f"blocks.{i}{part}" for i in range(BLOCKS) for part in ("", f".{last}")]
        found = outputs(trial.module(arm, seed), names, x)
        seeds.append(
            [
                Passed(found[f"blocks.{i}.{last}"].flatten().numpy(), found[f"blocks.{i}"].flatten().numpy())
                for i in range(BLOCKS)
            ]
        )
    return seeds


def _numbers(trial: Trial, evidence: Evidence) -> dict[str, Number]:
    arm = trial.comparison.arms["before"]
    assert arm.difference_ci95 is not None
    low, high = arm.difference_ci95
    margin = trial.comparison.margin
    numbers = {
        f"accuracy_{name}": Number(
            value=float(evidence.accuracy[name].mean()),
            label=f"test accuracy, norm {name} ReLU (mean over seeds)",
            unit="%",
            digits=4,
        )
        for name in ARMS
    }
    numbers["difference"] = Number(
        value=arm.difference or 0.0, label="difference, before − after", unit="points", digits=2
    )
    numbers["low"] = Number(value=low, label="its 95 % interval: from", unit="points", digits=2)
    numbers["high"] = Number(value=high, label="its 95 % interval: to", unit="points", digits=2)
    numbers["margin"] = Number(
        value=margin or 0.0, label="margin below which a difference does not matter", unit="points"
    )
    numbers["verdict"] = Number(value=trial.verdict("before"), label="verdict on before against after")
    for name in ARMS:
        numbers[f"active_{name}"] = Number(
            value=float(evidence.active[name].mean()),
            label=f"values above 0 that enter ReLU, norm {name} it (mean over blocks and seeds)",
            unit="%",
        )
    return numbers


def _findings(values: Values) -> str:
    verdict = {
        "better": "before ReLU is **better** than after it here",
        "worse": "before ReLU is **worse** than after it here",
        "equivalent": "the two places are **equivalent** here: they differ by less than the margin",
        "undecided": "the verdict is **undecided**: these seeds neither show a difference nor rule one out",
    }.get(values["verdict"], f"the verdict is {values['verdict']}")
    return (
        f"Norm before ReLU reached {values['accuracy_before']:.2f} %, after ReLU {values['accuracy_after']:.2f} %;"
        f" {verdict} (95 % interval of the difference {_signed(values['low'])} to {_signed(values['high'])} points)."
        f" Of the values that enter ReLU, {values['active_before']:.0f} % are above 0 with the norm before it and"
        f" {values['active_after']:.0f} % with the norm after it. In the histograms"
        " (second figure) the norm's own output is the upper left panel and the lower right one."
    )


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _active_table(evidence: Evidence) -> Table:
    return Table(
        title="Values above 0 that enter each ReLU (%, mean over seeds)",
        columns=["norm", *(f"block {i + 1}" for i in range(BLOCKS))],
        rows=[[f"{arm} ReLU", *(f"{share:.1f}" for share in evidence.active[arm])] for arm in ARMS],
    )


def _draw(measured: Measured, theme: Theme) -> list[Picture]:
    evidence: Evidence = measured.evidence
    return [_training(evidence, measured.values, theme), _distributions(evidence, theme)]


def _training(evidence: Evidence, values: Values, theme: Theme) -> Picture:
    figure = Figure(figsize=(10, 4.3))
    figure.set_layout_engine("constrained", w_pad=0.1)
    loss, validation, seeds = figure.subplots(1, 3)
    epochs = np.arange(1, evidence.loss["before"].shape[1] + 1)
    for index, arm in enumerate(ARMS):
        style = {"colour": theme.colours[index], "label": f"{arm} ReLU", "dashes": (5, 2) if index else None}
        plot_band(loss, epochs, evidence.loss[arm], **style)  # type: ignore[arg-type]
        plot_band(validation, epochs, evidence.validation[arm], **style)  # type: ignore[arg-type]
    loss.set(yscale="log", title="Training loss", ylabel="cross-entropy (nats)")
    validation.set(title="Validation accuracy", ylabel="accuracy (%)")
    for axes in (loss, validation):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    handles, labels = loss.get_legend_handles_labels()
    _pairs(seeds, evidence, theme)
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, handlelength=3.4)
    figure.suptitle("Batch normalization before and after ReLU")
    return Picture(
        name="training",
        figure=figure,
        caption=(
            f"Left and middle, {BAND}. Right: test accuracy of the final weights; a line joins the two networks of"
            " a seed, which began with the same weights; bars are means."
        ),
        alternative=(
            f"Training loss and validation accuracy by epoch for both places of the norm, and test accuracies seed by"
            f" seed: mean {values['accuracy_before']:.2f} % before ReLU, {values['accuracy_after']:.2f} % after;"
            f" verdict {values['verdict']}."
        ),
    )


def _pairs(axes: Axes, evidence: Evidence, theme: Theme) -> None:
    pairs = np.stack([evidence.accuracy[arm] for arm in ARMS])
    axes.plot([0, 1], pairs, color=theme.soft, linewidth=0.9, alpha=0.7)
    for index in range(len(ARMS)):
        axes.plot(np.full(pairs.shape[1], index), pairs[index], "o", color=theme.colours[index], markersize=6)
        mean = pairs[index].mean()
        axes.plot([index - 0.22, index + 0.22], [mean, mean], color=theme.colours[index], linewidth=3)
    axes.set(title="Test accuracy by seed", ylabel="accuracy (%)", xlim=(-0.5, 1.5))
    axes.set_xticks([0, 1], [f"{arm} ReLU" for arm in ARMS])
    axes.grid(axis="x", visible=False)


def _distributions(evidence: Evidence, theme: Theme) -> Picture:
    figure = Figure(figsize=(10, 5.8))
    figure.set_layout_engine("constrained", w_pad=0.1)
    places = figure.subplots(2, 2)
    rows = (("relu", "into ReLU"), ("following", "into the next layer"))
    for column, arm in enumerate(ARMS):
        for row, (part, name) in enumerate(rows):
            _histogram(places[row, column], getattr(evidence.passed[arm], part), theme.colours[column], theme)
            places[row, column].set_title(f"norm {arm} ReLU: {name}")
    for axes in places[:, 0]:
        axes.set_ylabel("share of values (%)")
    for axes in places[1]:
        axes.set_xlabel("value")
    figure.suptitle(f"What passes through block {SHOWN + 1}")
    shares = "; ".join(
        f"norm {arm} ReLU: {_active(evidence.passed[arm].relu):.0f} % enter ReLU above 0" for arm in ARMS
    )
    return Picture(
        name="values",
        figure=figure,
        caption=(
            f"All values of block {SHOWN + 1} in one trained network. The thin line marks 0, the dot the mean. The"
            " horizontal scales differ."
        ),
        alternative=f"Four histograms of activations. {shares}.",
    )


def _active(values: NDArray[np.float32]) -> float:
    return float(100 * (values > 0).mean())


def _histogram(axes: Axes, values: NDArray[np.float32], colour: str, theme: Theme) -> None:
    low, high = np.quantile(values, [0.002, 0.998])
    width = (high - low) / 40
    edges = np.arange(np.floor(low / width) - 0.5, high / width + 1) * width
    shares = 100 * np.histogram(values, edges)[0] / values.size
    axes.stairs(shares, edges, fill=True, color=colour)
    axes.axvline(0, color=theme.soft, linewidth=1)
    axes.plot(values.mean(), 0, "o", color=theme.ink, markersize=7, clip_on=False, zorder=5)
    axes.set_ylim(0, 1.08 * shares.max())
    text = f"mean {_signed(float(values.mean()))}\ndeviation {values.std():.2f}\nabove 0: {_active(values):.0f} %"
    axes.text(0.98, 0.94, text, transform=axes.transAxes, ha="right", va="top", fontsize=11, color=theme.ink)


LESSON = Lesson(
    name="batch-norm-position",
    order=70,
    title="Batch normalization before or after ReLU",
    claims=[
        Claim(
            statement="Batch normalization before ReLU gives a better test accuracy than after it.",
            rule=(
                "holds if the verdict on before against after is `better`; holds in part if it is `equivalent`"
                " (nothing is lost by following the custom); not shown here if it is `undecided`; does not hold here if"
                " it is `worse`"
            ),
            judge=lambda values: graded(
                values["verdict"] == "better",
                in_part=values["verdict"] == "equivalent",
                tests=[values["verdict"]],
            ),
        ),
        Claim(
            statement="Before ReLU, the norm keeps half of the units active.",
            rule=(
                f"holds if between {HALF[0]:g} and {HALF[1]:g} % of the values that enter ReLU are above 0, over all"
                " blocks and seeds; in part if only closer to 50 % than with the norm after ReLU; else it does not"
            ),
            judge=lambda values: graded(
                HALF[0] <= values["active_before"] <= HALF[1],
                in_part=abs(values["active_before"] - 50) < abs(values["active_after"] - 50),
            ),
        ),
    ],
    text=TEXT,
    sources=[
        "Ioffe & Szegedy 2015, [arXiv 1502.03167](https://arxiv.org/abs/1502.03167), section 3.2",
        "Mishkin, Sergievskiy & Matas 2017, [arXiv 1606.02228](https://arxiv.org/abs/1606.02228), who compare the"
        " two",
    ],
    measure=_measure,
    draw=_draw,
)
