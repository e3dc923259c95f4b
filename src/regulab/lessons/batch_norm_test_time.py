"""Batch statistics against running averages at test time: small batches, sorted batches, a shift, eval() forgotten."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from regulab.lessons.bands import BAND, plot_band
from regulab.lessons.budget import few_images
from regulab.lessons.laboratory import Laboratory, Trial
from regulab.lessons.lesson import Claim, Lesson, Measured, Number, Picture, Table, Values, graded
from regulab.models.norms.batch import BatchNorm
from regulab.reporting.theme import Theme
from regulab.streams import Streams

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
USUAL = 128  # the batch size of batch statistics where no other is named
SORTED = 16  # the batch size at which sorted batches are judged
SHIFTS = (0.0, 0.25, 0.5, 0.75, 1.0)
CONTRAST, BRIGHTNESS = 0.7, 0.4  # what the full shift takes from the contrast and adds to every pixel
TEST_IMAGES = 1000
WATCHED, COMPANIES = (
    60,
    16,
)  # images that the figure chooses from; how many sets of neighbours each image gets
POLLUTING = 32  # batch size of the pass with eval() forgotten
STEPS = 30
BREAKS, SPOILS, SHOWS = 10.0, 5.0, 1.0  # points (or percent of images) that count as broken, spoiled, visible
PER_SEED = ("running", "shuffled", "by_class", "shift_running", "shift_batch", "polluted")
TEXT = r"""
In training, batch norm divides by the statistics of the mini-batch, $\mu$ and $\sigma^2$ over its $m = B \cdot H \cdot
W$ values of a channel. Beside that it keeps running averages, which change nothing in training:

$$\hat\mu \leftarrow (1 - \alpha)\,\hat\mu + \alpha\,\mu, \qquad
\hat\sigma^2 \leftarrow (1 - \alpha)\,\hat\sigma^2 + \alpha\,\frac{m}{m - 1}\,\sigma^2, \qquad \alpha = 0.1 .$$

The factor $m/(m-1)$ makes the variance unbiased: $\sigma^2$ of a sample is too small on average by the factor
$(m-1)/m$. At test time, after `model.eval()`, the averages take the place of the statistics,

$$y = \gamma\,\frac{x - \hat\mu}{\sqrt{\hat\sigma^2 + \epsilon}} + \beta ,$$

a fixed linear function of $x$: what an image gives no longer depends on the images beside it.

**Batch size 1.** If the batch's own statistics are used on a single image, $m = H \cdot W$: each image is normalized by
itself (instance normalization). The mean over the map, which this network classifies by, is then the same for every
image but for what ReLU makes of it, and most of what distinguished the images is gone. On a map of 1 × 1, as after a
fully connected layer, $m = 1$, so $x = \mu$ and $y = \beta$ whatever the image; torch refuses that case.

**A shifted test set.** The images are made flatter and brighter, $x' = (1 - 0.7\,s)\,x + 0.4\,s$ for pixels $x$ from 0
to 1 and a shift $s$ from 0 to 1. The running averages describe the training images, not these. A batch of
shifted images has statistics of its own, which take such a shift off again.

**`eval()` forgotten.** Then an image's logits depend on its neighbours, and every forward pass moves the running
averages towards whatever passes through: testing changes the model.
"""


@dataclass(frozen=True)
class Evidence:
    """Accuracies in percent, seed by seed ``(S, …)``: over batch sizes, over shifts, over steps of a forgotten eval().

    ``companies`` ``(images, COMPANIES)``: the probability of the true class in different batches, for one network;
    ``alone`` ``(images,)``: the same with running averages.
    """

    sizes: Sequence[int]
    running: NDArray[np.float64]  # (S,)
    shuffled: NDArray[np.float64]
    by_class: NDArray[np.float64]
    shift_running: NDArray[np.float64]
    shift_batch: NDArray[np.float64]
    polluted: NDArray[np.float64]
    companies: NDArray[np.float64]
    alone: NDArray[np.float64]
    pictures: NDArray[np.float64]  # (shifts, H, W, C) in [0, 1]


def batch_mode(module: nn.Module) -> nn.Module:
    """A copy that normalizes by the statistics of its batch and leaves its running averages as they are."""
    twin = copy.deepcopy(module).train()
    for layer in twin.modules():
        if isinstance(layer, BatchNorm):
            layer.momentum = 0.0
    return twin


def batches(order: NDArray[np.int64], size: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Batches of exactly ``size`` that cover ``order`` ``(N,)``, and how many of each are new.

    The last one is filled up from the beginning of the order.
    """
    for start in range(0, len(order), size):
        yield order.take(range(start, start + size), mode="wrap"), min(size, len(order) - start)


def accuracy(module: nn.Module, x: Tensor, labels: Tensor, order: NDArray[np.int64], size: int) -> float:
    """Percent right of ``x`` ``(N, C, H, W)`` in batches of ``size``, in the mode that the module is in."""
    right = 0
    with torch.no_grad():
        for batch, new in batches(order, size):
            right += int((module(x[batch]).argmax(1) == labels[batch])[:new].sum())
    return 100 * right / len(order)


def shifted(unit: Tensor, shift: float) -> Tensor:
    """(1 − CONTRAST·s)·x + BRIGHTNESS·s, for pixels ``x`` in [0, 1] of any shape; stays in [0, 1]."""
    return (1 - CONTRAST * shift) * unit + BRIGHTNESS * shift


def _measure(laboratory: Laboratory) -> Measured:
    trial = laboratory.train(
        {
            "name": "batch-norm-test-time",
            "model": {"name": "cnn10k", "dropout": 0},
            "train": {"epochs": 12, "batch_size": 64},
            "seeds": 5,
            "arms": {"batch norm": {}},
            **few_images(laboratory, 1500),
        }
    )
    x, labels = trial.images("test", TEST_IMAGES)
    preprocessing = trial.setup.preprocessing
    unit = x * preprocessing.deviation + preprocessing.mean
    versions = [preprocessing.normalize(shifted(unit, shift)) for shift in SHIFTS]
    seeds = [_one_seed(trial, seed, versions, labels) for seed in trial.study.seeds]
    evidence = Evidence(
        sizes=[size for size in SIZES if size <= len(labels)],
        **{key: np.array([one[key] for one in seeds]) for key in PER_SEED},
        companies=seeds[0]["companies"],
        alone=seeds[0]["alone"],
        pictures=np.stack([shifted(unit[0], shift).permute(1, 2, 0).numpy() for shift in SHIFTS]),
    )
    numbers = _numbers(evidence, float(np.mean([one["moved"] for one in seeds])))
    return Measured(
        numbers=numbers,
        evidence=evidence,
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"{laboratory.dataset}: cnn10k without dropout, {len(trial.splits.train):,} training images,"
            f" {trial.study.train.epochs} epochs, {len(trial.study.seeds)} seeds; {len(labels):,} test images, each"
            " counted once in every setting (the last batch is filled up with images that are not counted again). Batch"
            " statistics leave the running averages as they are, except where eval() is said to be forgotten."
        ),
        tables=[_table(evidence)],
    )


def _one_seed(
    trial: Trial, seed: int, versions: Sequence[Tensor], labels: Tensor
) -> dict[str, NDArray[np.float64]]:
    module, x = trial.module("batch norm", seed), versions[0]
    batch = batch_mode(module)
    generator = Streams(trial.study.stream_key, seed).generator("test order")
    order = generator.permutation(len(labels))
    by_class = order[np.argsort(labels.numpy()[order], kind="stable")]
    sizes = [size for size in SIZES if size <= len(labels)]
    usual = min(USUAL, len(labels))
    alone, companies, moved = _neighbours(module, batch, x, labels, generator)
    return {
        "running": np.array(accuracy(module, x, labels, order, usual)),
        "shuffled": np.array([accuracy(batch, x, labels, order, size) for size in sizes]),
        "by_class": np.array([accuracy(batch, x, labels, by_class, size) for size in sizes]),
        "shift_running": np.array([accuracy(module, v, labels, order, usual) for v in versions]),
        "shift_batch": np.array([accuracy(batch, v, labels, order, usual) for v in versions]),
        "polluted": _pollute(module, versions[-1], x, labels, order),
        "companies": companies,
        "alone": alone,
        "moved": np.array(moved),
    }


def _neighbours(
    module: nn.Module, batch: nn.Module, x: Tensor, labels: Tensor, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The true class's probability of the first images, by running averages ``(images,)`` and in random batches

    ``(images, COMPANIES)``; and the percentage of all images whose predicted class is not the same in all batches.
    """
    n = len(labels)
    found, classes = np.zeros((n, COMPANIES)), np.zeros((n, COMPANIES), int)
    with torch.no_grad():
        for column in range(COMPANIES):
            for chosen, new in batches(generator.permutation(n), min(POLLUTING, n)):
                logits = batch(x[chosen])[:new]
                own = labels[chosen[:new], None]
                found[chosen[:new], column] = logits.softmax(1).gather(1, own).squeeze(1).numpy()
                classes[chosen[:new], column] = logits.argmax(1).numpy()
        first = labels[:WATCHED]
        alone = module(x[:WATCHED]).softmax(1).gather(1, first[:, None]).squeeze(1).double().numpy()
    return alone, found[:WATCHED], float(100 * (classes != classes[:, :1]).any(1).mean())


def _pollute(
    module: nn.Module, passed: Tensor, x: Tensor, labels: Tensor, order: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Accuracy on ``x`` in inference mode after 0, 1, 2 … batches of ``passed`` in training mode, without gradients."""
    victim = copy.deepcopy(module)
    results = [accuracy(victim.eval(), x, labels, order, len(labels))]
    for step in range(STEPS):
        with torch.no_grad():
            start = step * POLLUTING
            victim.train()(passed[order.take(range(start, start + POLLUTING), mode="wrap")])
        results.append(accuracy(victim.eval(), x, labels, order, len(labels)))
    return np.array(results)


def _numbers(evidence: Evidence, moved: float) -> dict[str, Number]:
    usual = evidence.sizes.index(min(USUAL, evidence.sizes[-1]))
    in_classes = evidence.sizes.index(min(SORTED, evidence.sizes[-1]))
    accuracies = {
        "running": (evidence.running, "running averages"),
        "one": (evidence.shuffled[:, 0], "batch statistics, one image at a time"),
        "usual": (evidence.shuffled[:, usual], f"batch statistics, batches of {evidence.sizes[usual]}"),
        "by_class": (
            evidence.by_class[:, in_classes],
            f"batch statistics, batches of {evidence.sizes[in_classes]} sorted by class",
        ),
        "shuffled": (
            evidence.shuffled[:, in_classes],
            "batch statistics, the same batch size, shuffled",
        ),
        "shift_running": (evidence.shift_running[:, -1], "running averages, full shift"),
        "shift_batch": (evidence.shift_batch[:, -1], "batch statistics, full shift"),
        "polluted": (
            evidence.polluted[:, -1],
            f"running averages on the original images, after {STEPS} shifted batches with eval() forgotten",
        ),
    }
    numbers = {
        key: Number(value=float(values.mean()), label=f"test accuracy: {label}", unit="%", digits=4)
        for key, (values, label) in accuracies.items()
    }
    numbers["moved"] = Number(
        value=moved,
        label=f"images whose predicted class changes with their neighbours ({COMPANIES} batches of {POLLUTING})",
        unit="%",
    )
    spread = float((evidence.companies.max(1) - evidence.companies.min(1)).max())
    numbers["spread"] = Number(
        value=spread,
        label="widest range of an image's probability of its true class over those batches",
        digits=2,
    )
    return numbers


def _repaired(values: Values) -> tuple[float, float]:
    """Points lost to the shift with running averages, and points of those that batch statistics keep."""
    return (
        values["running"] - values["shift_running"],
        values["shift_batch"] - values["shift_running"],
    )


def _findings(values: Values) -> str:
    lost, kept = _repaired(values)
    return (
        f"Running averages classify {values['running']:.1f} % of the test images correctly; the batch's own statistics"
        f" {values['usual']:.1f} % in large batches and {values['one']:.1f} % one image at a time. In batches of"
        f" {SORTED} sorted by class they reach {values['by_class']:.1f} %, shuffled {values['shuffled']:.1f} %."
        f" The full shift costs running averages {lost:.1f} points; batch statistics are {kept:.1f} points above them"
        f" there. With `eval()` forgotten, {values['moved']:.0f} % of the images change their class with their"
        f" neighbours, and after {STEPS} shifted batches the network classifies {values['polluted']:.1f} % of the"
        " original images correctly."
    ).replace(" -", " −")


def _table(evidence: Evidence) -> Table:
    rows = [
        [name, *(f"{value:.1f}" for value in values.mean(0))]
        for name, values in (("shuffled", evidence.shuffled), ("sorted by class", evidence.by_class))
    ]
    return Table(
        title="Test accuracy with batch statistics, by batch size (%, mean over seeds)",
        columns=["order", *map(str, evidence.sizes)],
        rows=rows,
    )


def _draw(measured: Measured, theme: Theme) -> list[Picture]:
    evidence: Evidence = measured.evidence
    return [
        _draw_sizes(evidence, measured.values, theme),
        _draw_shift(evidence, measured.values, theme),
        _draw_forgotten(evidence, measured.values, theme),
    ]


def _draw_sizes(evidence: Evidence, values: Values, theme: Theme) -> Picture:
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots()
    running = np.tile(evidence.running[:, None], len(evidence.sizes))
    for label, lines, colour, dashes, marker in (
        ("running averages", running, theme.baseline, None, ""),
        ("batch statistics, shuffled", evidence.shuffled, theme.colours[0], None, "o"),
        ("batch statistics, sorted by class", evidence.by_class, theme.colours[1], (5, 2), "s"),
    ):
        plot_band(axes, evidence.sizes, lines, colour, label, dashes=dashes, marker=marker)
    axes.set_xscale("log", base=2)
    axes.set_xticks(evidence.sizes, [str(size) for size in evidence.sizes])
    axes.set(xlabel="batch size at test time", ylabel="test accuracy (%)", ylim=(0, 102))
    axes.set_title("Test accuracy by batch size")
    axes.legend(loc="lower right", frameon=False, handlelength=3.2)
    return Picture(
        name="batch-size",
        figure=figure,
        caption=f"{BAND[0].upper()}{BAND[1:]}. Running averages give the same at every batch size.",
        alternative=(
            f"Test accuracy against batch size: running averages {values['running']:.1f} %; batch statistics"
            f" {values['one']:.1f} % at batch size 1, {values['usual']:.1f} % in large batches and"
            f" {values['by_class']:.1f} % in small batches sorted by class."
        ),
    )


def _draw_shift(evidence: Evidence, values: Values, theme: Theme) -> Picture:
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, len(SHIFTS), height_ratios=(1, 2.6))
    for column, (shift, picture) in enumerate(zip(SHIFTS, evidence.pictures, strict=True)):
        small = figure.add_subplot(grid[0, column])
        small.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=1)
        small.set_title(f"s = {shift:g}")
        small.set_axis_off()
    axes = figure.add_subplot(grid[1, :])
    plot_band(axes, SHIFTS, evidence.shift_running, theme.baseline, "running averages", marker="o")
    plot_band(
        axes, SHIFTS, evidence.shift_batch, theme.colours[0], "batch statistics", dashes=(5, 2), marker="s"
    )
    axes.set_xticks(SHIFTS)
    axes.set(xlabel="shift s: flatter and brighter", ylabel="test accuracy (%)", ylim=(0, 102))
    axes.legend(loc="lower left", frameon=False, handlelength=3.2)
    return Picture(
        name="shift",
        figure=figure,
        caption=f"Top: a test image under the shift. Bottom: test accuracy; {BAND}.",
        alternative=(
            "A test image at five shifts, and test accuracy against the shift: at full shift"
            f" {values['shift_running']:.1f} % with running averages and {values['shift_batch']:.1f} % with batch"
            " statistics."
        ),
    )


def _draw_forgotten(evidence: Evidence, values: Values, theme: Theme) -> Picture:
    figure = Figure(figsize=(10, 4.6))
    figure.set_layout_engine("constrained", w_pad=0.12)
    left, right = figure.subplots(1, 2)
    _draw_companies(left, evidence, theme)
    steps = np.arange(evidence.polluted.shape[1])
    plot_band(right, steps, evidence.polluted, theme.colours[1], "in inference mode afterwards")
    left.grid(axis="x", visible=False)
    right.set(
        title="What the forgotten eval() leaves behind",
        xlabel=f"shifted batches of {POLLUTING} seen in training mode",
        ylabel="accuracy on the original images (%)",
        ylim=(0, 102),
    )
    return Picture(
        name="eval-forgotten",
        figure=figure,
        caption=(
            f"Left: the images of the first {len(evidence.alone)} whose probability varies most; a dot is the image in"
            f" one batch of {POLLUTING}, a bar the same image with running averages. Right: no weight is changed, only"
            f" the running averages; {BAND}."
        ),
        alternative=(
            f"Left: probabilities of the true class of twelve images in {COMPANIES} different batches, spread by up to"
            f" {values['spread']:.2f}. Right: accuracy goes from {values['running']:.1f} to {values['polluted']:.1f} %"
            " as shifted batches pass in training mode."
        ),
    )


def _draw_companies(axes: Axes, evidence: Evidence, theme: Theme) -> None:
    ranges = evidence.companies.max(1) - evidence.companies.min(1)
    chosen = np.sort(np.argsort(-ranges, kind="stable")[:12])
    for place, image in enumerate(chosen):
        dots = evidence.companies[image]
        label = "in different batches" if place == 0 else None
        axes.plot(
            np.full(len(dots), place),
            dots,
            "o",
            color=theme.colours[0],
            alpha=0.55,
            markersize=5,
            label=label,
        )
    axes.hlines(
        evidence.alone[chosen],
        np.arange(len(chosen)) - 0.4,
        np.arange(len(chosen)) + 0.4,
        color=theme.ink,
        linewidth=2.2,
        label="with running averages",
    )
    axes.set_xticks(range(len(chosen)), [str(image) for image in chosen])
    axes.set(
        title="One image, different neighbours",
        xlabel="test image",
        ylabel="probability of its true class",
        ylim=(-0.03, 1.2),
        yticks=(0, 0.25, 0.5, 0.75, 1),
    )
    axes.legend(
        loc="upper center", ncols=2, frameon=False, handlelength=1.2, columnspacing=1.2, borderaxespad=0
    )


def _small(values: Values) -> tuple[bool, bool]:
    """Whether one image at a time breaks batch statistics, and whether large batches do not show."""
    return values["running"] - values["one"] >= BREAKS, abs(values["running"] - values["usual"]) < SHOWS


LESSON = Lesson(
    name="batch-norm-test-time",
    order=80,
    title="Batch normalization at test time",
    claims=[
        Claim(
            statement="Batch statistics serve in large batches and break on one image at a time.",
            rule=(
                f"holds if they are at least {BREAKS:g} points below running averages at batch size 1, and within"
                f" {SHOWS:g} point of them in batches of {USUAL}; in part if only the former; else it does not hold"
            ),
            judge=lambda values: graded(all(_small(values)), in_part=_small(values)[0]),
        ),
        Claim(
            statement="Batch statistics need a mixed batch: sorted by class they break.",
            rule=(
                f"holds if, in batches of {SORTED}, sorting costs at least {BREAKS:g} points; in part if at least"
                f" {SHOWS:g}; else it does not hold"
            ),
            judge=lambda values: graded(
                values["shuffled"] - values["by_class"] >= BREAKS,
                in_part=values["shuffled"] - values["by_class"] >= SHOWS,
            ),
        ),
        Claim(
            statement="On a shifted test set running averages are wrong, and the batch's own statistics repair it.",
            rule=(
                f"holds if the full shift costs running averages at least {SPOILS:g} points and batch statistics keep"
                " at least half of those; in part if it only costs them that; else it does not hold"
            ),
            judge=lambda values: graded(
                _repaired(values)[0] >= SPOILS and _repaired(values)[1] >= _repaired(values)[0] / 2,
                in_part=_repaired(values)[0] >= SPOILS,
            ),
        ),
        Claim(
            statement="With `eval()` forgotten, an image's predicted class depends on its neighbours.",
            rule=(
                f"holds if at least {SHOWS:g} % of the images change their class; in part if only a probability moves"
                " by 0.01 or more; else it does not hold"
            ),
            judge=lambda values: graded(values["moved"] >= SHOWS, in_part=values["spread"] >= 0.01),
        ),
        Claim(
            statement="A test pass over shifted images with `eval()` forgotten leaves the model damaged.",
            rule=(
                f"holds if, in inference mode afterwards, it is at least {SPOILS:g} points worse on the original"
                f" images; in part if at least {SHOWS:g}; else it does not hold"
            ),
            judge=lambda values: graded(
                values["running"] - values["polluted"] >= SPOILS,
                in_part=values["running"] - values["polluted"] >= SHOWS,
            ),
        ),
    ],
    text=TEXT,
    sources=[
        "Ioffe & Szegedy 2015, [arXiv 1502.03167](https://arxiv.org/abs/1502.03167), Algorithm 2",
        "Nado et al. 2020, [arXiv 2006.10963](https://arxiv.org/abs/2006.10963) (batch statistics on shifted images)",
    ],
    measure=_measure,
    draw=_draw,
)
