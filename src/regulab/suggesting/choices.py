"""What suits a person's images: size, network, batches, epochs, endpoint. Each choice has its reason beside it.

These are places to start from, by rules of thumb that are written here; none of them looks at what a network learns.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.data.survey.survey import Survey
from regulab.suggesting.division import Division

LEAST_SIDE, SMALL_SIDE, PHOTO_SIDE = 8, 48, 64  # pixels
RESIDUAL_SIDE = 24  # what `resnet20` and `resnet18` are made for
SIDES = (8, 16, 24, 32, 48, 64)
LONG = 1.5  # times as long as high: cutting a square out of it would lose a third
STEPS = 3000  # of training: a study of MNIST has 15,000, small networks learn most in the first thousands
EPOCHS = (
    10,
    100,
)  # small sets need many: 180 pictures of 3 classes were still being learnt after 60, 660 steps
BATCHES = ((2500, 128), (1000, 64), (300, 32), (64, 16), (0, 8))  # from so many training images on
UNBALANCED = 3  # times as many images in the largest class as in the smallest
ARMS = 4
SEEDS = 7  # the fewest with which a difference between arms can be told, where three are compared
# A step of a residual network costs about so much for each pixel, run and image: six times its 40,000 multiply-adds.
OPERATIONS = 240_000
# Operations of a whole study: a few minutes on two cores, and on a GPU.
BUDGET, GPU_BUDGET = 1e13, 1e16
DEVIATION = 30.0  # points: √(0.9·0.1), of whether an image is right where nine in ten are
SHARE = 3  # a margin of a third of the test set's own standard error; one tenth of a point at 10,000 images


@dataclass(frozen=True)
class Choice:
    """A value for a study file, and in sentences why it is this one."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Choices:
    """Everything that depends on the images. ``shape`` is (height, width) as the network sees them."""

    shape: tuple[int, int]
    size: Choice | None
    fit: Choice | None
    model: Choice
    batch_size: Choice
    epochs: Choice
    metric: Choice
    margin: Choice


def choose(survey: Survey, division: Division, *, resizable: bool, gpu: bool) -> Choices:
    """The choices for these images. ``resizable``: a study can bring them to another size; ``gpu``: one will train."""
    shape, size, fit = _size(survey, gpu) if resizable else (next(iter(survey.sizes))[::-1], None, None)
    train, _, _ = division.sizes
    batch = min(train, next(size for least, size in BATCHES if train >= least))
    epochs = _epochs(train, batch)
    metric, margin = _endpoint(division)
    return Choices(
        shape=shape,
        size=size,
        fit=fit,
        model=_model(survey, shape, train * epochs.value * SEEDS * ARMS, gpu),
        batch_size=Choice(batch, _batch_reason(train, batch)),
        epochs=epochs,
        metric=metric,
        margin=margin,
    )


def _size(survey: Survey, gpu: bool) -> tuple[tuple[int, int], Choice | None, Choice | None]:
    """What images are brought to: nothing where all are small and of one size, else what a processor can train on."""
    if len(survey.sizes) == 1:
        ((width, height),) = survey.sizes
        if min(width, height) >= LEAST_SIDE and max(width, height) <= PHOTO_SIDE:
            return (height, width), None, None
        if max(width, height) <= 2 * min(width, height) and max(width, height) > PHOTO_SIDE:
            return _reduced(
                width, height, PHOTO_SIDE / (min if gpu and survey.channels == 3 else max)(width, height)
            )
    side = _side([min(size) for size, count in survey.sizes.items() for _ in range(count)])
    lengths = [max(size) / min(size) for size, count in survey.sizes.items() for _ in range(count)]
    long = statistics.median(lengths)
    cause = (
        f"Images have {len(survey.sizes):,} sizes" if len(survey.sizes) > 1 else "A network needs more pixels"
    )
    reason = f"{cause}; {side} × {side} pixels trains in bearable time. {_larger(side)}"
    lost = (
        f"a typical image is {long:.2g} times as long as wide" if long >= 1.05 else "most images are square"
    )
    if long >= LONG:
        fit = Choice(
            "pad", f"`pad` keeps the whole image between black bars: {lost}, and `crop` would cut that off."
        )
    else:
        fit = Choice("crop", f"`crop` cuts the middle out ({lost}); `pad` keeps all between black bars.")
    return (side, side), Choice(side, reason), fit


def _reduced(width: int, height: int, scale: float) -> tuple[tuple[int, int], Choice, None]:
    """Images of one size keep their shape, so that nothing is cut off.

    The longer side is `PHOTO_SIDE`, for `cnn10k` is made for no more. Where a GPU will train on colours it is the
    shorter one: up to 48 pixels `resnet18` begins at full resolution, which takes ten times as long.
    """
    shape = (max(LEAST_SIDE, round(height * scale)), max(LEAST_SIDE, round(width * scale)))
    value = shape[0] if shape[0] == shape[1] else list(shape)
    reason = f"All images are {width:,} × {height:,} pixels; {shape[1]} × {shape[0]} trains in bearable time."
    return shape, Choice(value, f"{reason} {_larger(max(shape))}"), None


def _side(shorter: Sequence[int]) -> int:
    """The largest of `SIDES` that a typical image has, so that few images are enlarged."""
    typical = statistics.median(shorter)
    return max((side for side in SIDES if side <= typical), default=LEAST_SIDE)


def _larger(side: int) -> str:
    return f"Twice as many show more and take four times as long, half as many a quarter ({2 * side} or {side // 2})."


def _model(survey: Survey, shape: tuple[int, int], images: int, gpu: bool) -> Choice:
    """A residual network where the machine can bear ``images``, of all runs and epochs, going through it."""
    colours = "colour" if survey.channels == 3 else "grey"
    what = f"{colours} images of {shape[1]} × {shape[0]} pixels"
    large = "resnet20" if min(shape) <= SMALL_SIDE else "resnet18"
    if max(shape) > PHOTO_SIDE:
        return Choice(
            "resnet18", f"For {what}; `cnn10k`, by far the fastest, is made for up to {PHOTO_SIDE}."
        )
    operations = OPERATIONS * shape[0] * shape[1] * images
    bearable = operations <= (GPU_BUDGET if gpu else BUDGET)
    if survey.channels == 3 and bearable and min(shape) >= RESIDUAL_SIDE:
        return Choice(large, f"A residual network for {what}; `cnn10k` is 20 times as fast or more.")
    return Choice(
        "cnn10k",
        f"Small and fast, for {what}. `{large}` has 20 times as many operations or more: perhaps for a GPU or a night. "
        "`regulab show models` lists all; your own is FILE.py:NAME.",
    )


def _batch_reason(train: int, batch: int) -> str:
    steps = max(1, train // batch)
    return f"{train:,} images train: {steps:,} step{'s' if steps > 1 else ''} an epoch."


def _epochs(train: int, batch: int) -> Choice:
    steps = max(1, train // batch)
    epochs = min(max(round(STEPS / steps), EPOCHS[0]), EPOCHS[1])
    return Choice(
        epochs,
        f"{steps * epochs:,} steps in all. If training accuracy is still rising at the end, take more.",
    )


def _endpoint(division: Division) -> tuple[Choice, Choice]:
    """Whether every class counts alike, and the margin: never under one test image, nor far under what chance does."""
    test, largest, smallest = division.test, int(division.train.max()), int(division.train.min())
    present = test[test > 0]
    ratio = largest / max(smallest, 1)
    if ratio >= UNBALANCED:
        metric = Choice(
            "balanced_accuracy",
            f"The largest class has {ratio:,.{0 if ratio >= 10 else 1}f} times as many training images as the "
            f"smallest, and a network that names the largest for every image would have "
            f"{100 * test.max() / test.sum():.0f} % of plain accuracy. This is the mean over classes of the share that "
            "is right.",
        )
        one = 100 / (len(present) * int(present.min()))
        return metric, _margin(
            one, _standard_error(present), "an image of the smallest class in the test set"
        )
    metric = Choice(
        "test_accuracy", "The share of test images that are right, in percent; classes are of similar size."
    )
    total = int(test.sum())
    return metric, _margin(100 / total, DEVIATION / math.sqrt(total), f"one of {total:,} test images")


def _standard_error(counts: NDArray[np.int64]) -> float:
    """Of balanced accuracy: the mean over classes of independent shares."""
    return float(DEVIATION * np.sqrt((1 / counts).sum()) / len(counts))


def _margin(one: float, error: float, what: str) -> Choice:
    value = _rounded_up(max(one, error / SHARE))
    return Choice(
        value,
        f"A difference of less than this many points does not matter: {what} is {one:.3g}, and another test set "
        f"of this size would differ by {error:.2g} or so.",
    )


def _rounded_up(value: float) -> float:
    """Two digits, never less than the value."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit - 1e-9) * unit:.6g}")
