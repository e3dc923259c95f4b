import math
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from regulab.data import augmentation
from regulab.data.augmentation import AugmentSettings
from regulab.data.augmentation.drawing import OLDEST, draw
from regulab.data.augmentation.operations.affine import (
    DRAWS,
    FLIP,
    ROTATE,
    SCALE,
    SHEAR,
    SHIFT_X,
    SHIFT_Y,
    UPSIDE_DOWN,
)
from tests.data.augmentation.settings import settings_of

ROTATED, SHIFTED, SCALED = 30.0, 2.5, 0.2
EVERYTHING = settings_of(rotate=ROTATED, translate=SHIFTED, scale=SCALED, flip=True)


BLACK = torch.zeros(3, 1, 1)


def augment(
    x: torch.Tensor, table: torch.Tensor, chosen: AugmentSettings, **more: torch.Tensor
) -> torch.Tensor:
    return augmentation.augment(x, {OLDEST: table, **more}, chosen.operations(), BLACK)


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
    assert AugmentSettings().operations() == []
    assert augment(x, draws(2, rotate=0.1), AugmentSettings()) is x


@pytest.mark.parametrize("size", [4, 5, 8])
def test_quarter_turns_equal_rot90(size):
    x = images(3, 2, size, size)
    turned = augment(x, draws(3, rotate=1.0), settings_of(rotate=90))
    torch.testing.assert_close(turned, torch.rot90(x, 1, (2, 3)), atol=1e-5, rtol=0)
    turned = augment(x, draws(3, rotate=0.0), settings_of(rotate=90))
    torch.testing.assert_close(turned, torch.rot90(x, -1, (2, 3)), atol=1e-5, rtol=0)


def test_half_turn_of_a_non_square_image_equals_two_flips():
    x = images(2, 1, 5, 8)
    turned = augment(x, draws(2, rotate=1.0), settings_of(rotate=180))
    torch.testing.assert_close(turned, x.flip(2, 3), atol=1e-5, rtol=0)


def test_a_quarter_turn_of_a_non_square_image_turns_in_pixels():
    """The centre square of a 5 × 9 image turns as if it stood alone: nothing is stretched."""
    x = images(1, 1, 5, 9)
    turned = augment(x, draws(1, rotate=1.0), settings_of(rotate=90))
    torch.testing.assert_close(turned[..., 2:7], torch.rot90(x[..., 2:7], 1, (2, 3)), atol=1e-5, rtol=0)
    assert turned[..., :2].abs().max() == turned[..., 7:].abs().max() == 0


def test_whole_pixel_shifts_equal_slicing_with_black_fill():
    x = images(1, 3, 6, 7)
    shifted = augment(x, draws(1, x=1.0, y=0.0), settings_of(translate=2))  # 2 right, 2 up
    expected = torch.zeros_like(x)
    expected[..., :-2, 2:] = x[..., 2:, :-2]
    torch.testing.assert_close(shifted, expected, atol=1e-5, rtol=0)


def test_half_a_pixel_is_the_mean_of_neighbours():
    x = images(1, 1, 4, 9)
    shifted = augment(x, draws(1, x=1.0), settings_of(translate=0.5))
    torch.testing.assert_close(shifted[..., 1:], (x[..., 1:] + x[..., :-1]) / 2, atol=1e-5, rtol=0)
    torch.testing.assert_close(shifted[..., 0], x[..., 0] / 2, atol=1e-5, rtol=0)


def test_flip_by_the_draw():
    x = images(3, 1, 5, 6)
    table = draws(3)
    table[:, FLIP] = torch.tensor([0.2, 0.5, 0.9])
    flipped = augment(x, table, settings_of(flip=True))
    torch.testing.assert_close(flipped, torch.stack((x[0], x[1].flip(2), x[2].flip(2))), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("u", "factor"), [(0.0, 0.5), (1.0, 1.5)])
def test_scale_about_the_centre_equals_scipy(u, factor):
    x = images(1, 1, 7, 10)
    scaled = augment(x, draws(1, scale=u), settings_of(scale=0.5))
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
    angle = math.radians(ROTATED) * centred[ROTATE]
    factor = 1 + SCALED * centred[SCALE]
    flip = np.diag([1, -1 if row[FLIP] >= 0.5 else 1])
    # rows grow downwards: a counter-clockwise turn takes (row, column) to (−sin·column + cos·row, …)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    forward = factor * turn @ flip
    shift = SHIFTED * centred[[SHIFT_Y, SHIFT_X]]
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
    table = torch.from_numpy(draw(np.random.Generator(np.random.SFC64(4)), 6, DRAWS))
    together = augment(x, table, EVERYTHING)
    alone = torch.cat([augment(x[i : i + 1], table[i : i + 1], EVERYTHING) for i in range(6)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    same = augment(x[:1].expand(6, -1, -1, -1), table, EVERYTHING)
    assert all(not torch.equal(same[i], same[j]) for i in range(6) for j in range(i))


def test_channels_last_gives_the_same_and_values_stay_in_range():
    x = images(4, 3, 9, 9)
    table = torch.from_numpy(draw(np.random.Generator(np.random.SFC64(4)), 4, DRAWS))
    changed = augment(x, table, EVERYTHING)
    other = augment(x.contiguous(memory_format=torch.channels_last), table, EVERYTHING)
    torch.testing.assert_close(changed, other)
    assert changed.min() >= 0
    assert changed.max() <= 1 + 1e-6


def test_draws_are_uniform_exact_and_repeat():
    table = draw(np.random.Generator(np.random.SFC64(11)), 20_000, DRAWS)
    assert table.shape == (20_000, DRAWS)
    assert table.dtype == np.float32
    assert table.min() >= 0
    assert table.max() < 1
    # five standard errors of a uniform mean: 5·√(1/12/20000) = 0.0102
    assert np.abs(table.mean(0) - 0.5).max() < 0.0102
    assert np.abs(np.corrcoef(table.T) - np.eye(DRAWS)).max() < 0.036  # five times 1/√20000
    assert np.array_equal(table, draw(np.random.Generator(np.random.SFC64(11)), 20_000, DRAWS))


def test_fewer_images_share_the_first_draws():
    few, many = (draw(np.random.Generator(np.random.SFC64(1)), n, DRAWS) for n in (3, 10))
    assert np.array_equal(few, many[:3])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(3, 9),
    st.integers(3, 9),
    st.lists(st.floats(0, 1, width=32, exclude_max=True), min_size=DRAWS + 3, max_size=DRAWS + 3),
)
def test_lopsided_ranges_shear_and_both_flips_equal_scipys_affine_transform(height, width, row):
    chosen = settings_of(
        rotate=(-5, 15),
        translate_x=(1, 2),
        translate=(-1, 0),
        scale=(0.8, 1.1),
        shear_x=20,
        shear_y=(0, 10),
        flip="both",
    )
    x = images(1, 1, height, width)
    table = torch.tensor([row])
    more = {SHEAR: table[:, DRAWS : DRAWS + 2], UPSIDE_DOWN: table[:, DRAWS + 2 :]}
    changed = augment(x, table[:, :DRAWS], chosen, **more)
    u = np.array(row, np.float64)
    angle, factor = math.radians(-5 + 20 * u[ROTATE]), 0.8 + 0.3 * u[SCALE]
    shear_x, shear_y = math.tan(math.radians(40 * u[DRAWS] - 20)), math.tan(math.radians(10 * u[DRAWS + 1]))
    # rows (y) first, as scipy has them
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shear = np.array([[1, 0], [shear_x, 1]]) @ np.array([[1, shear_y], [0, 1]])
    flip = np.diag([-1 if u[DRAWS + 2] >= 0.5 else 1, -1 if u[FLIP] >= 0.5 else 1])
    forward = factor * turn @ shear @ flip
    shift = np.array([u[SHIFT_Y] - 1, 1 + u[SHIFT_X]])
    assert_equals_scipy(changed[0, 0], x[0, 0], np.linalg.inv(forward), shift)


def test_a_range_of_both_sides_is_the_number():
    x, table = images(4, 1, 7, 6), torch.rand(4, DRAWS, generator=torch.Generator().manual_seed(1))
    for key, number, pair in (
        ("rotate", 30, [-30, 30]),
        ("scale", 0.2, [0.8, 1.2]),
        ("translate", 2, [-2, 2]),
    ):
        one, other = (augment(x, table, settings_of(**{key: value})) for value in (number, pair))
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("fill", ["reflect", "edge", "mean", 255, [51, 102, 204]], ids=str)
def test_what_comes_from_outside_equals_the_image_with_a_border(fill):
    x, table = images(3, 3, 7, 6), torch.rand(3, DRAWS, generator=torch.Generator().manual_seed(2))
    chosen = settings_of(rotate=40, translate=2, scale=0.2, fill=fill)
    mean = torch.tensor([0.1, 0.6, 0.3])[:, None, None]
    found = augmentation.augment(x, {OLDEST: table}, chosen.operations(), mean)
    modes: dict[str, Literal["reflect", "edge"]] = {"reflect": "reflect", "edge": "edge"}
    border = [(0, 0), (6, 6), (6, 6)]
    for one, (image, row) in enumerate(zip(x.double().numpy(), table.double().numpy(), strict=True)):
        if isinstance(fill, str) and fill in modes:
            padded = np.pad(image, border, mode=modes[fill])
        else:
            level = (
                mean.numpy() if fill == "mean" else np.broadcast_to(np.array(fill) / 255.0, 3)[:, None, None]
            )
            padded = np.pad(image - level, border) + level
        angle, factor = math.radians(40) * (2 * row[ROTATE] - 1), 1 + 0.2 * (2 * row[SCALE] - 1)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        inverse, shift = np.linalg.inv(factor * turn), 2 * (2 * row[[SHIFT_Y, SHIFT_X]] - 1)
        centre = (np.array(padded.shape[1:]) - 1) / 2
        for channel in range(3):
            want = ndimage.affine_transform(
                padded[channel], inverse, centre - inverse @ (centre + shift), order=1, mode="nearest"
            )[6:-6, 6:-6]
            np.testing.assert_allclose(found[one, channel], want, atol=3e-5)
