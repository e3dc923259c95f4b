from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regulab.data.dataset import Images
from regulab.data.preprocessing import fit
from regulab.lessons.inputs.per_pixel.experiment import Maps, judged_together, rings, with_stray_pixels
from regulab.lessons.inputs.per_pixel.lesson import LESSON
from regulab.lessons.kit.lesson import Answer
from regulab.statistics import compare
from tests.reporting.factory import make_records

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NOT_SHOWN = Answer.NOT_SHOWN
NUMBERS = {
    "white_least": 50.0,
    "white_most": 1.5,
    "border": 0.5,
    "middle": 0.2,
    "constant": 3,
    "verdict": "worse",
    "lost_pixel": 9.0,
    "lost_channel": 1.0,
    "lost_p": 0.016,
}


@pytest.mark.parametrize(
    ("changed", "claim", "answer"),
    [
        ({}, 0, HOLDS),
        ({"white_least": 5}, 0, IN_PART),
        ({"white_most": 5}, 0, IN_PART),
        ({"white_most": 5, "white_least": 6}, 0, NOT_HERE),
        ({}, 1, HOLDS),
        ({"border": 0.21}, 1, IN_PART),
        ({"border": 0.1}, 1, NOT_HERE),
        ({}, 2, HOLDS),
        ({"constant": 0}, 2, NOT_HERE),
        ({}, 3, HOLDS),
        ({"verdict": "equivalent"}, 3, HOLDS),
        ({"verdict": "undecided"}, 3, NOT_SHOWN),
        ({"verdict": "better"}, 3, NOT_HERE),
        ({}, 4, HOLDS),
        ({"lost_p": 0.06}, 4, NOT_SHOWN),
        ({"lost_p": 0.06, "lost_pixel": 0.5}, 4, NOT_SHOWN),
        ({"lost_pixel": 0.5}, 4, NOT_HERE),
    ],
)
def test_the_numbers_decide(changed, claim, answer):
    assert LESSON.answers({**NUMBERS, **changed})[claim] == answer


def images(seed: int, channels: int = 1) -> Images:
    """Off the origin; deviations differ by pixel; pixel (1, 2) is constant."""
    random = np.random.default_rng(seed)
    spread = random.integers(2, 60, (9, 7, channels))
    pixels = (100 + spread * random.standard_normal((41, 9, 7, channels))).clip(0, 255).astype(np.uint8)
    pixels[:, 1, 2] = 77
    return Images(pixels, np.arange(41) % 5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("channels", [1, 3])
def test_a_difference_is_blown_up_where_pixels_vary_less_than_the_channel_does(seed, channels):
    train = images(seed, channels)
    by_channel, by_pixel = fit(train, "dataset"), fit(train, "pixel")
    maps = Maps.of(train, by_channel, by_pixel)
    unit = np.moveaxis(train.pixels[:] / 255, -1, 1)
    assert maps.constant.sum() == channels
    assert maps.constant[:, 1, 2].all()
    np.testing.assert_allclose(maps.deviation, unit.std(0), rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(maps.mean, unit.mean(0), rtol=1e-5)
    channel = unit.std((0, 2, 3))[:, None, None]
    assert np.array_equal(maps.gain > 1, ~maps.constant & (unit.std(0) < channel))
    assert np.isnan(maps.gain[maps.constant]).all()


def test_rings_are_border_and_middle():
    deviation = np.full((2, 16, 24), 5.0)
    deviation[:, 2:-2, 3:-3] = 1.0
    deviation[:, 4:12, 6:18] = 2.0
    assert rings(deviation) == (5.0, 2.0)


def test_one_white_pixel_an_image():
    pixels = np.random.default_rng(0).integers(0, 200, (300, 5, 4, 3), dtype=np.uint8)
    before = pixels.copy()
    stray = with_stray_pixels(pixels, np.random.default_rng(1))
    changed = (stray != pixels).any(-1)
    assert (changed.sum((1, 2)) == 1).all()
    assert (stray[changed] == 255).all()
    assert (changed.sum(0) > 0).all(), "at any place"
    assert np.array_equal(pixels, before)


def test_two_studies_are_judged_as_one():
    together = make_records(arms={"none": 0.0, "l2": -1.0}, seeds=7)
    apart = [
        replace(
            together,
            study={**together.study, "arms": {arm: together.study["arms"][arm]}},
            results=tuple(result for result in together.results if result.arm == arm),
            predictions={key: one for key, one in together.predictions.items() if key[0] == arm},
            orders={key: one for key, one in together.orders.items() if key[0] == arm},
        )
        for arm in together.arms
    ]
    found = judged_together(apart)
    assert found.arms["l2"] == compare(together).arms["l2"]
    assert found.arms["l2"].verdict == "worse"
    assert found.pairing == compare(together).pairing
