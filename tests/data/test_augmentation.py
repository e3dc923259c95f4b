import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from regulab.config import validate
from regulab.data.augmentation import (
    DRAWS,
    FLIP,
    ROTATE,
    SCALE,
    SHIFT_X,
    SHIFT_Y,
    AugmentSettings,
    augment,
    draw,
)
from regulab.errors import UserError

EVERYTHING = AugmentSettings(rotate=30, translate=2.5, scale=0.2, flip=True)


def images(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(7).random(shape, np.float32))


def draws(count: int, **columns: float) -> torch.Tensor:
    """Draws of 1/2 (no rotation, shift or scale) and no flip, but for the columns given."""
    table = torch.full((count, DRAWS), 0.5)
    table[:, FLIP] = 0
    for name, value in columns.items():
        table[:, {"rotate": ROTATE, "x": SHIFT_X, "y": SHIFT_Y, "scale": SCALE, "flip": FLIP}[name]] = value
    return table


def test_nothing_active_is_the_very_same_tensor():
    x = images(2, 1, 5, 4)
    assert augment(x, draws(2, rotate=0.1), AugmentSettings()) is x


@pytest.mark.parametrize("size", [4, 5, 8])
def test_quarter_turns_equal_rot90(size):
    x = images(3, 2, size, size)
    turned = augment(x, draws(3, rotate=1.0), AugmentSettings(rotate=90))
    torch.testing.assert_close(turned, torch.rot90(x, 1, (2, 3)), atol=1e-5, rtol=0)
    turned = augment(x, draws(3, rotate=0.0), AugmentSettings(rotate=90))
    torch.testing.assert_close(turned, torch.rot90(x, -1, (2, 3)), atol=1e-5, rtol=0)


def test_half_turn_of_a_non_square_image_equals_two_flips():
    x = images(2, 1, 5, 8)
    turned = augment(x, draws(2, rotate=1.0), AugmentSettings(rotate=180))
    torch.testing.assert_close(turned, x.flip(2, 3), atol=1e-5, rtol=0)


def test_a_quarter_turn_of_a_non_square_image_turns_in_pixels():
    """The centre square of a 5 × 9 image turns as if it stood alone: nothing is stretched."""
    x = images(1, 1, 5, 9)
    turned = augment(x, draws(1, rotate=1.0), AugmentSettings(rotate=90))
    torch.testing.assert_close(turned[..., 2:7], torch.rot90(x[..., 2:7], 1, (2, 3)), atol=1e-5, rtol=0)
    assert turned[..., :2].abs().max() == turned[..., 7:].abs().max() == 0


def test_whole_pixel_shifts_equal_slicing_with_black_fill():
    x = images(1, 3, 6, 7)
    shifted = augment(x, draws(1, x=1.0, y=0.0), AugmentSettings(translate=2))  # 2 right, 2 up
    expected = torch.zeros_like(x)
    expected[..., :-2, 2:] = x[..., 2:, :-2]
    torch.testing.assert_close(shifted, expected, atol=1e-5, rtol=0)


def test_half_a_pixel_is_the_mean_of_neighbours():
    x = images(1, 1, 4, 9)
    shifted = augment(x, draws(1, x=1.0), AugmentSettings(translate=0.5))
    torch.testing.assert_close(shifted[..., 1:], (x[..., 1:] + x[..., :-1]) / 2, atol=1e-5, rtol=0)
    torch.testing.assert_close(shifted[..., 0], x[..., 0] / 2, atol=1e-5, rtol=0)


def test_flip_by_the_draw():
    x = images(3, 1, 5, 6)
    table = draws(3)
    table[:, FLIP] = torch.tensor([0.2, 0.5, 0.9])
    flipped = augment(x, table, AugmentSettings(flip=True))
    torch.testing.assert_close(flipped, torch.stack((x[0], x[1].flip(2), x[2].flip(2))), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("u", "factor"), [(0.0, 0.5), (1.0, 1.5)])
def test_scale_about_the_centre_equals_scipy(u, factor):
    x = images(1, 1, 7, 10)
    scaled = augment(x, draws(1, scale=u), AugmentSettings(scale=0.5))
    assert_equals_scipy(scaled[0, 0], x[0, 0], np.eye(2) / factor, np.zeros(2))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(3, 9),
    st.integers(3, 9),
    st.lists(st.floats(0, 1, width=32, exclude_max=True), min_size=DRAWS, max_size=DRAWS),
)
def test_all_together_equals_scipys_affine_transform(height, width, row):
    x = images(1, 1, height, width)
    changed = augment(x, torch.tensor([row]), EVERYTHING)
    centred = 2 * np.array(row, np.float64) - 1
    angle = math.radians(EVERYTHING.rotate) * centred[ROTATE]
    factor = 1 + EVERYTHING.scale * centred[SCALE]
    flip = np.diag([1, -1 if row[FLIP] >= 0.5 else 1])
    # rows grow downwards: a counter-clockwise turn takes (row, column) to (−sin·column + cos·row, …)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    forward = factor * turn @ flip
    shift = EVERYTHING.translate * centred[[SHIFT_Y, SHIFT_X]]
    assert_equals_scipy(changed[0, 0], x[0, 0], np.linalg.inv(forward), shift)


def assert_equals_scipy(found, image, inverse, shift):
    """Against scipy's output(o) = input(inverse·(o − centre − shift) + centre), padded for its borders."""
    padded = np.pad(image.double().numpy(), 6)
    centre = (np.array(padded.shape) - 1) / 2
    offset = centre - inverse @ (centre + shift)
    expected = ndimage.affine_transform(padded, inverse, offset, order=1, mode="constant")[6:-6, 6:-6]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_each_image_has_its_own_draw():
    x = images(6, 3, 7, 5)
    table = torch.from_numpy(draw(np.random.Generator(np.random.SFC64(4)), 6))
    together = augment(x, table, EVERYTHING)
    alone = torch.cat([augment(x[i : i + 1], table[i : i + 1], EVERYTHING) for i in range(6)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    same = augment(x[:1].expand(6, -1, -1, -1), table, EVERYTHING)
    assert all(not torch.equal(same[i], same[j]) for i in range(6) for j in range(i))


def test_channels_last_gives_the_same_and_values_stay_in_range():
    x = images(4, 3, 9, 9)
    table = torch.from_numpy(draw(np.random.Generator(np.random.SFC64(4)), 4))
    changed = augment(x, table, EVERYTHING)
    other = augment(x.contiguous(memory_format=torch.channels_last), table, EVERYTHING)
    torch.testing.assert_close(changed, other)
    assert changed.min() >= 0
    assert changed.max() <= 1 + 1e-6


def test_draws_are_uniform_exact_and_repeat():
    table = draw(np.random.Generator(np.random.SFC64(11)), 20_000)
    assert table.shape == (20_000, DRAWS)
    assert table.dtype == np.float32
    assert table.min() >= 0
    assert table.max() < 1
    # five standard errors of a uniform mean: 5·√(1/12/20000) = 0.0102
    assert np.abs(table.mean(0) - 0.5).max() < 0.0102
    assert np.abs(np.corrcoef(table.T) - np.eye(DRAWS)).max() < 0.036  # five times 1/√20000
    assert np.array_equal(table, draw(np.random.Generator(np.random.SFC64(11)), 20_000))


def test_fewer_images_share_the_first_draws():
    few, many = (draw(np.random.Generator(np.random.SFC64(1)), n) for n in (3, 10))
    assert np.array_equal(few, many[:3])


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({}, "no augmentation"),
        ({"rotate": 7, "translate": 2}, "rotate ±7°, shift ±2 px"),
        ({"scale": 0.1, "flip": True}, "scale ±10 %, flip"),
    ],
)
def test_labels(given, label):
    chosen = AugmentSettings(**given)
    assert chosen.label() == label
    assert chosen.active == bool(given)


@pytest.mark.parametrize(
    "given",
    [
        {"rotate": -1},
        {"rotate": 181},
        {"translate": -0.5},
        {"scale": 1},
        {"scale": float("nan")},
        {"shear": 1},
    ],
)
def test_settings_out_of_range(given):
    with pytest.raises(UserError, match=f"data.augment: {next(iter(given))}"):
        validate(AugmentSettings, given, "data.augment")
