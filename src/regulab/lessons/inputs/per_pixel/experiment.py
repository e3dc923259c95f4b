"""Mean and deviation of every pixel over a dataset: what z-scores per pixel do, and why one does not take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regulab.data.dataset import Images
from regulab.data.preprocessing import Preprocessing
from regulab.lessons.kit.laboratory import Laboratory, Trial
from regulab.lessons.kit.lesson import Measured, Number, Values
from regulab.records import StudyRecords
from regulab.statistics import Comparison, compare
from regulab.statistics.sign_flip import two_sided_p
from regulab.statistics.verdicts import ALPHA

Array = NDArray[np.float64]
CHANNEL, PIXEL = "per channel", "per pixel"
NORMALIZE = {CHANNEL: "dataset", PIXEL: "pixel"}


@dataclass(frozen=True)
class Maps:
    """Constants of the training part, all ``(C, H, W)``; ``constant`` pixels have deviation 0 and gain nan."""

    mean: Array
    deviation: Array
    gain: Array
    constant: NDArray[np.bool_]

    @classmethod
    def of(cls, train: Images, channel: Preprocessing, pixel: Preprocessing) -> Maps:
        constant = np.moveaxis((train.pixels[:] == train.pixels[:1]).all(0), -1, 0)
        deviation = pixel.deviation.double().numpy()
        gain = np.where(constant, np.nan, channel.deviation.double().numpy() / deviation)
        return cls(pixel.mean.double().numpy(), np.where(constant, 0, deviation), gain, constant)


@dataclass(frozen=True)
class PixelMapsAndAccuracies:
    """Maps, samples ``(K, C, H, W)`` in [0, 1] with their z-scores, accuracies by arm and seed."""

    maps: Maps
    samples: Array  # the last has a stray white pixel
    scores: Mapping[str, Array]
    accuracy: Mapping[str, Array]  # (S,) on the test split, percent
    lost: Mapping[str, Array]  # (S,) points of validation accuracy


SEEDS, EPOCHS, FEW, HELD_OUT = 7, 6, 2000, 0.04  # few of a large dataset, to be quick
MARGIN = 0.5  # points of accuracy that would not matter for six epochs of training
SAMPLES = 6


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


def measure(laboratory: Laboratory) -> Measured:
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
    lost = {arm: _points_lost(trial, arm) for arm, trial in trials.items()}
    accuracy = {arm: trial.results(arm, "test_accuracy") for arm, trial in trials.items()}
    maps = Maps.of(splits.train, by_arm[CHANNEL], by_arm[PIXEL])
    verdict = judged_together([trial.records for trial in trials.values()]).arms[PIXEL].verdict
    numbers = _map_numbers(maps, by_arm) | _training_numbers(accuracy, str(verdict), lost)
    samples = _samples(splits.train, maps)
    return Measured(
        numbers=numbers,
        evidence=PixelMapsAndAccuracies(
            maps=maps,
            samples=np.moveaxis(samples / 255.0, -1, 1),
            scores={
                arm: _standardized(preprocessing, samples).double().numpy()
                for arm, preprocessing in by_arm.items()
            },
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
    assert (
        len({(study_records.study["name"], tuple(study_records.study["seeds"])) for study_records in records})
        == 1
    )
    return compare(
        replace(
            first,
            study={
                **first.study,
                "arms": {
                    arm: study_records.study["arms"][arm]
                    for study_records in records
                    for arm in study_records.arms
                },
            },
            results=tuple(result for study_records in records for result in study_records.results),
            predictions={
                key: value for study_records in records for key, value in study_records.predictions.items()
            },
            orders={key: value for study_records in records for key, value in study_records.orders.items()},
        )
    )


def _points_lost(trial: Trial, arm: str) -> Array:
    """Points of validation accuracy that one stray pixel an image costs, seed by seed; the same pixels for all."""
    images = trial.splits.validation
    stray = with_stray_pixels(images.pixels[:], np.random.default_rng(0))
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
