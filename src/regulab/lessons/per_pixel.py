"""Mean and deviation of every pixel over a dataset: what z-scores per pixel do, and why one does not take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regulab.data.dataset import Images
from regulab.data.preprocessing import Preprocessing
from regulab.lessons.laboratory import Laboratory, Trial
from regulab.lessons.lesson import UNDECIDED, Answer, Claim, Lesson, Measured, Number, Values, graded
from regulab.lessons.per_pixel_figures import CHANNEL, NORMALIZE, PIXEL, Evidence, Maps, draw
from regulab.records import StudyRecords
from regulab.statistics import Comparison, compare
from regulab.statistics.sign_flip import two_sided_p
from regulab.statistics.verdicts import ALPHA

Array = NDArray[np.float64]

SEEDS, EPOCHS, FEW, HELD_OUT = 7, 6, 2000, 0.04  # few of a large dataset, to be quick
MARGIN = 0.5  # points of accuracy that would not matter for six epochs of training
BLOWN_UP, SQUASHED = 10.0, 3.0  # |z| of one white pixel
MORE = 1.1  # times the deviation
SAMPLES = 6
TEXT = r"""
Over $n$ training images $x_1 \dots x_n$, each pixel $p$ of a channel has a mean and a standard deviation of its own:

$$\mu_p = \frac{1}{n}\sum_{i=1}^{n} x_{i,p}, \qquad
\sigma_p = \sqrt{\frac{1}{n}\sum_{i=1}^{n} (x_{i,p} - \mu_p)^2}, \qquad
z_{i,p} = \frac{x_{i,p} - \mu_p}{\sigma_p} .$$

Shown as images, $\mu$ and $\sigma$ are the **mean image** and the **deviation image**. A difference $\Delta$ at a
pixel becomes $\Delta/\sigma_p$: where $\sigma_p$ is large, differences are squashed; where it is tiny, they are blown
up, and what varies there is often noise. Where a pixel is the same in all training images, $\sigma_p = 0$ and $z$ is
$0/0$. Here such a pixel keeps its scale ($\sigma_p$ is taken as 1), so it is 0 in training.

**Per channel** there is one mean $\mu$ and one deviation $\sigma$ for all places,
$z_{i,p} = (x_{i,p} - \mu)/\sigma$, with $\mu$ and $\sigma$ over all $n \cdot H \cdot W$ values. Contrasts between
neighbours keep their proportions, and a shape looks the same wherever it stands, which is what a convolution counts
on: its kernel is shared by all places. With $\sigma_p$ the same edge has another size at every place.

The map of **gains** $\sigma/\sigma_p$ compares the two: 1 where they agree, above 1 where z-scores per pixel are
larger.
"""


def rings(deviation: Array) -> tuple[float, float]:
    """The mean of a map ``(…, H, W)`` over its border, an eighth of the side wide, and over its middle half."""
    height, width = deviation.shape[-2:]
    row, column = max(1, height // 8), max(1, width // 8)
    border = np.ones((height, width), bool)
    border[row:-row, column:-column] = False
    middle = deviation[..., height // 4 : height - height // 4, width // 4 : width - width // 4]
    return float(deviation[..., border].mean()), float(middle.mean())


def with_stray_pixels(pixels: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """A copy of ``(N, H, W, C)`` with one pixel, drawn at random, white in each image."""
    n, height, width, _ = pixels.shape
    stray = pixels.copy()
    stray[np.arange(n), generator.integers(0, height, n), generator.integers(0, width, n)] = 255
    return stray


def _measure(laboratory: Laboratory) -> Measured:
    large = len(laboratory.splits().train) > 2 * FEW
    data, protocol = ({"train_images": FEW}, {"validation": HELD_OUT}) if large else ({}, {})
    # One name and so the same draws for both: the studies differ in their preprocessing alone.
    trials = {
        arm: replace(laboratory, scratch=laboratory.scratch / normalize).train(
            {
                "name": "per-pixel",
                "data": {**data, "normalize": normalize},
                "protocol": protocol,
                "train": {"epochs": EPOCHS, "batch_size": 64},
                "endpoint": {"margin": MARGIN},
                "seeds": SEEDS,
                "arms": {arm: {}},
            }
        )
        for arm, normalize in NORMALIZE.items()
    }
    splits = trials[CHANNEL].splits
    by_arm = {arm: trial.setup.preprocessing for arm, trial in trials.items()}
    lost = {arm: _lost(trial, arm) for arm, trial in trials.items()}
    accuracy = {arm: trial.results(arm, "test_accuracy") for arm, trial in trials.items()}
    maps = Maps.of(splits.train, by_arm[CHANNEL], by_arm[PIXEL])
    verdict = judged_together([trial.records for trial in trials.values()]).arms[PIXEL].verdict
    numbers = _map_numbers(maps, by_arm) | _training_numbers(accuracy, str(verdict), lost)
    samples = _samples(splits.train, maps)
    return Measured(
        numbers=numbers,
        evidence=Evidence(
            maps=maps,
            samples=np.moveaxis(samples / 255.0, -1, 1),
            scores={arm: _standardized(one, samples).double().numpy() for arm, one in by_arm.items()},
            accuracy=accuracy,
            lost=lost,
        ),
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"{len(splits.train):,} training images of {laboratory.dataset}; cnn10k, {EPOCHS} epochs, {SEEDS} paired"
            f" seeds, margin {MARGIN:g} points. Stray pixels: {len(splits.validation):,} validation images, one pixel"
            " of each, drawn at random, set to white."
        ),
    )


def judged_together(records: Sequence[StudyRecords]) -> Comparison:
    """The verdicts on the arms of several studies that share name, seeds and endpoint, against the first's baseline."""
    first = records[0]
    assert len({(one.study["name"], tuple(one.study["seeds"])) for one in records}) == 1
    return compare(
        replace(
            first,
            study={
                **first.study,
                "arms": {arm: one.study["arms"][arm] for one in records for arm in one.arms},
            },
            results=tuple(result for one in records for result in one.results),
            predictions={key: value for one in records for key, value in one.predictions.items()},
            orders={key: value for one in records for key, value in one.orders.items()},
        )
    )


def _lost(trial: Trial, arm: str) -> Array:
    """Points of validation accuracy that one stray pixel an image costs, seed by seed; the same pixels for all."""
    images = trial.splits.validation
    stray = with_stray_pixels(images.pixels, np.random.default_rng(0))
    lost = []
    for seed in trial.study.seeds:
        module = trial.module(arm, seed)
        clean, disturbed = (
            _accuracy(module, trial.setup.preprocessing, Images(pixels, images.labels))
            for pixels in (images.pixels, stray)
        )
        lost.append(clean - disturbed)
    return np.array(lost)


@torch.no_grad()
def _accuracy(module: torch.nn.Module, preprocessing: Preprocessing, images: Images) -> float:
    right = 0
    for start in range(0, len(images), 1000):
        x = _standardized(preprocessing, images.pixels[start : start + 1000])
        predicted = module(x).argmax(1).numpy()
        right += int((predicted == images.labels[start : start + 1000]).sum())
    return 100 * right / len(images)


def _standardized(preprocessing: Preprocessing, pixels: NDArray[np.uint8]) -> Tensor:
    return preprocessing.normalize(preprocessing.to_unit(torch.from_numpy(pixels)))


def _samples(train: Images, maps: Maps) -> NDArray[np.uint8]:
    """The first images of the first classes ``(K, H, W, C)``, and the first again with a stray white pixel.

    The stray one stands where pixels vary least without being constant.
    """
    classes = np.unique(train.labels)[:SAMPLES]
    each = -(-SAMPLES // len(classes))
    firsts = np.concatenate([np.flatnonzero(train.labels == label)[:each] for label in classes])[:SAMPLES]
    samples = train.pixels[[*firsts, firsts[0]]].copy()
    row, column = np.unravel_index(int(np.nanargmax(maps.gain)), maps.gain.shape)[1:]
    samples[-1, row, column] = 255
    return samples


def _map_numbers(maps: Maps, by_arm: Mapping[str, Preprocessing]) -> dict[str, Number]:
    white, white_channel = (
        np.broadcast_to(
            ((1 - by_arm[arm].mean) / by_arm[arm].deviation).abs().double().numpy(), maps.gain.shape
        )
        for arm in (PIXEL, CHANNEL)
    )
    least, most = int(np.nanargmax(maps.gain)), int(np.nanargmin(maps.gain))
    border, middle = rings(maps.deviation)
    return {
        "constant": Number(value=int(maps.constant.sum()), label="constant pixels (channels counted apart)"),
        "pixels": Number(value=maps.constant.size, label="pixels of an image (channels counted apart)"),
        "most": Number(value=float(maps.deviation.flat[most]), label="largest deviation of a pixel"),
        "least": Number(
            value=float(maps.deviation.flat[least]), label="least deviation of a pixel that is not constant"
        ),
        "white_most": Number(
            value=float(white.flat[most]), label="|z| of a white pixel where pixels vary most"
        ),
        "white_least": Number(
            value=float(white.flat[least]), label="|z| of a white pixel where pixels vary least"
        ),
        "white_channel": Number(
            value=float(white_channel.max()), label="|z| of a white pixel with constants per channel"
        ),
        "border": Number(value=border, label="mean deviation of the pixels of the border"),
        "middle": Number(value=middle, label="mean deviation of the pixels in the middle"),
    }


def _training_numbers(
    accuracy: Mapping[str, Array], verdict: str, lost: Mapping[str, Array]
) -> dict[str, Number]:
    p = two_sided_p(lost[PIXEL] - lost[CHANNEL], np.random.default_rng(0))
    numbers = {"verdict": Number(value=verdict, label="test accuracy per pixel against per channel")}
    for key, arm in (("channel", CHANNEL), ("pixel", PIXEL)):
        numbers[f"accuracy_{key}"] = Number(
            value=float(np.nanmean(accuracy[arm])), label=f"test accuracy, {arm}", unit="%", digits=4
        )
        numbers[f"lost_{key}"] = Number(
            value=float(lost[arm].mean()),
            label=f"validation accuracy lost to a stray pixel, {arm}",
            unit="points",
        )
    return numbers | {"lost_p": Number(value=p, label="p of the difference between these losses")}


def _findings(values: Values) -> str:
    wider = values["border"] > values["middle"]
    more = values["lost_pixel"] > values["lost_channel"]
    decided = values["lost_p"] < ALPHA
    return (
        f"{values['constant']} of {values['pixels']} pixels never change in training; the others have deviations from"
        f" {values['least']:.2g} to {values['most']:.2g}. So one white pixel is a z-score of"
        f" {values['white_most']:.1f} where pixels vary most and of {values['white_least']:,.0f} where they vary least"
        f" (at most {values['white_channel']:.1f} per channel). Here the border varies"
        f" {'more' if wider else 'less'} than the middle, so equal differences come out"
        f" {'smaller' if wider else 'larger'} at the border. Per-pixel constants against per-channel ones in trained"
        f" networks: {values['verdict']} ({values['accuracy_pixel']:.2f} and {values['accuracy_channel']:.2f} % right"
        f" on the test split). A stray white pixel an image costs them {values['lost_pixel']:.1f} and"
        f" {values['lost_channel']:.1f} points: per pixel costs {'more' if more else 'no more'}"
        f" (p = {values['lost_p']:.2g}{'' if decided else ', undecided'})."
    )


def _squashed(values: Values) -> Answer:
    blown, squashed = values["white_least"] >= BLOWN_UP, values["white_most"] <= SQUASHED
    return graded(blown and squashed, in_part=blown or squashed)


def _border(values: Values) -> Answer:
    return graded(values["border"] >= MORE * values["middle"], in_part=values["border"] > values["middle"])


def _no_gain(values: Values) -> Answer:
    return graded(values["verdict"] in ("worse", "equivalent"), tests=[values["verdict"]])


def _fragile(values: Values) -> Answer:
    decided = values["lost_p"] < ALPHA
    more = values["lost_pixel"] > values["lost_channel"]
    return graded(decided and more, tests=[] if decided else [UNDECIDED])


LESSON = Lesson(
    name="per-pixel",
    order=30,
    title="Standardizing every pixel: do not try this at work",
    claims=[
        Claim(
            statement="Z-scores per pixel squash what varies much and blow up what hardly varies.",
            rule=(
                f"holds if one white pixel has |z| of {BLOWN_UP:g} or more where pixels vary least (constant ones"
                f" aside) and of {SQUASHED:g} or less where they vary most; in part if one of the two; else it does not"
            ),
            judge=_squashed,
        ),
        Claim(
            statement="Values near the border are squashed more than those in the middle.",
            rule=(
                f"holds if the mean deviation of the border (an eighth of the side) is {MORE:g} times that of the"
                " middle half or more; in part if it is larger at all; else it does not"
            ),
            judge=_border,
        ),
        Claim(
            statement="Some pixels are constant, so their z-score is 0/0.",
            rule="holds if a pixel has the same value in all training images; else it does not",
            judge=lambda values: graded(values["constant"] > 0),
        ),
        Claim(
            statement="Constants per pixel make no better network than constants per channel.",
            rule=(
                "holds if the verdict on test accuracy is worse or equivalent; not shown if undecided; does not hold if"
                " better"
            ),
            judge=_no_gain,
        ),
        Claim(
            statement="A stray white pixel costs a network with constants per pixel more accuracy.",
            rule=(
                f"holds if the mean loss is larger and the paired sign-flip test gives p < {ALPHA:g}; not shown if p is"
                " larger; does not hold if the mean loss is smaller at such a p"
            ),
            judge=_fragile,
        ),
    ],
    text=TEXT,
    sources=[
        "[Data preprocessing: should we normalise images pixel-wise?](https://datascience.stackexchange.com/questions/"
        "26881/data-preprocessing-should-we-normalise-images-pixel-wise) (the course's source)",
        "Krizhevsky, Sutskever & Hinton 2012, ImageNet classification with deep convolutional neural networks, § 2"
        " (the mean of every pixel subtracted, and no more)",
        "Simonyan & Zisserman 2015, [arXiv 1409.1556](https://arxiv.org/abs/1409.1556), § 2.1 (a mean per channel)",
    ],
    measure=_measure,
    draw=draw,
)
