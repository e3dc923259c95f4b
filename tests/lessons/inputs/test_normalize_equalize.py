from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import pearsonr, spearmanr

from regulab.data.histograms import luminance
from regulab.errors import UserError
from regulab.lessons.inputs.normalize_equalize.experiment import (
    colour_versions,
    correlation,
    hue_change,
    moved,
    ratio_changes,
    unevenness,
    versions,
)
from regulab.lessons.inputs.normalize_equalize.lesson import LESSON
from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Answer

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NUMBERS = {
    "linear_normalized": 1.0,
    "ratio_most_normalized": 1e-12,
    "ratio_equalized": 40.0,
    "uneven_equalized": 1.0,
    "uneven_normalized": 20.0,
    "hue_channels": 30.0,
    "hue_luminance": 1e-12,
}


@pytest.mark.parametrize(
    ("changed", "claim", "answer"),
    [
        ({}, 0, HOLDS),
        ({"ratio_most_normalized": 1}, 0, IN_PART),
        ({"linear_normalized": 0.99}, 0, NOT_HERE),
        ({}, 1, HOLDS),
        ({"ratio_equalized": 3}, 1, IN_PART),
        ({"ratio_equalized": 1e-9}, 1, NOT_HERE),
        ({}, 2, HOLDS),
        ({"uneven_equalized": 8}, 2, IN_PART),
        ({"uneven_equalized": 21}, 2, NOT_HERE),
        ({}, 3, HOLDS),
        ({"hue_channels": 3}, 3, IN_PART),
        ({"hue_luminance": 2}, 3, IN_PART),
        ({"hue_luminance": 31}, 3, NOT_HERE),
    ],
)
def test_the_numbers_decide(changed, claim, answer):
    assert LESSON.answers({**NUMBERS, **changed})[claim] == answer


def skewed(seed: int, *shape: int) -> np.ndarray:
    return 0.2 + 0.4 * np.floor(60 * np.random.default_rng(seed).random(shape) ** 3) / 60


@pytest.mark.parametrize("seed", range(3))
def test_normalization_keeps_ratios_of_differences_and_equalization_does_not(seed):
    x = skewed(seed, 41, 37)
    after = versions(x)
    kept, lost = (
        ratio_changes(x, after[name], np.random.default_rng(seed)) for name in ("normalized", "equalized")
    )
    assert kept.max() < 1e-9
    assert np.median(lost) > 0.1
    assert moved(x, after["normalized"]) < 1e-12
    assert moved(x, after["equalized"]) > 0.05
    assert correlation(x, after["equalized"], ranks=True) == pytest.approx(1, abs=1e-12), "the order stays"


def test_correlations_are_scipys():
    x, y = skewed(1, 20, 30), skewed(2, 20, 30) + skewed(1, 20, 30)
    assert correlation(x, y) == pytest.approx(pearsonr(x.ravel(), y.ravel()).statistic)
    assert correlation(x, y, ranks=True) == pytest.approx(spearmanr(x.ravel(), y.ravel()).statistic)


def test_ratio_changes_by_hand():
    before, after = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    assert ratio_changes(before, after, np.random.default_rng(0)).max() == 0
    three = np.array([0.0, 1.0, 3.0])
    found = ratio_changes(three, np.array([0.0, 2.0, 3.0]), np.random.default_rng(0))
    # |differences| 1, 2, 3 became 2, 1, 3: ratios change by factors 1, 4 (1:2), 2 (1:3) and 2 (2:3).
    assert set(np.round(found, 9)) == {0.0, 1.0, 3.0}
    flat = ratio_changes(three, np.array([0.0, 0.0, 3.0]), np.random.default_rng(0))
    assert np.isinf(flat[-1])


def test_evenly_spread_levels_are_even():
    levels = np.linspace(0, 1, 1001)
    assert unevenness(levels) == pytest.approx(1 / 1001)
    assert unevenness(np.zeros(10)) == 1
    assert unevenness(np.full(10, 0.3)) == pytest.approx(0.7)
    assert unevenness(np.repeat(levels[::100], 7)) == pytest.approx(1 / 11)


@pytest.mark.parametrize("seed", range(3))
def test_hues_stay_but_for_channels_equalized_apart(seed):
    x = np.stack([skewed(seed + 10 * c, 25, 30) ** (c + 1) for c in range(3)], -1)
    after = colour_versions(x)
    for name in ("normalized", "equalized, luminance", "contrast-limited, luminance"):
        degrees, share = hue_change(x, after[name])
        assert degrees.max() < 1e-6
        assert share[-1] == pytest.approx(1)
    assert np.median(hue_change(x, after["equalized, each channel"])[0]) > 5


def test_the_luminance_becomes_that_of_an_equalized_grey_picture():
    x = 0.1 + 0.3 * np.random.default_rng(0).random((25, 30, 3)) ** 2  # no two levels equal but for rounding
    np.testing.assert_allclose(
        luminance(colour_versions(x)["equalized, luminance"]), versions(luminance(x))["equalized"], atol=1e-12
    )


def measured(tmp_path: Path, pixels: np.ndarray):
    Image.fromarray(pixels).save(tmp_path / "p.png")
    laboratory = Laboratory(scratch=tmp_path, data_root=tmp_path, data="digits", image=tmp_path / "p.png")
    return LESSON.measure(laboratory)


@pytest.mark.parametrize("pixels", [np.full((1, 1), 9, np.uint8), np.full((4, 5, 3), (9, 80, 7), np.uint8)])
def test_a_picture_of_one_level_is_refused(tmp_path, pixels):
    with pytest.raises(UserError, match="same level"):
        measured(tmp_path, pixels)


def test_ones_own_colour_picture_is_both_figures(tmp_path):
    pixels = np.random.default_rng(0).integers(30, 200, (9, 7, 3), dtype=np.uint8)
    found = measured(tmp_path, pixels)
    np.testing.assert_allclose(found.evidence.colour["original"], pixels / 255)
    np.testing.assert_allclose(found.evidence.grey["original"], luminance(pixels / 255))
    assert "7 × 9 pixels" in found.conditions


def test_of_a_grey_picture_two_pixels_are_enough(tmp_path):
    found = measured(tmp_path, np.array([[3, 200]], np.uint8))
    assert found.evidence.grey["equalized"].tolist() == [[0, 1]]
    assert all(np.isfinite(value) for value in found.values.values())
    assert "grey" in found.conditions
