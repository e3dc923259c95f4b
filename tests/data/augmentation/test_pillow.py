"""Operations on colours and levels against Pillow, scipy and Python's colorsys, image by image."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage
from torch import Tensor

from regulab.data.augmentation import augment
from tests.data.augmentation.settings import settings_of

SIZE = (23, 17)
KINDS = pytest.mark.parametrize("channels", [1, 3], ids=["grey", "colour"])


def photographs(channels: int, count: int = 6) -> np.ndarray:
    """uint8 ``(count, H, W, channels)``: smooth with some noise, of different ranges; one of a single level."""
    rng = np.random.default_rng(channels)
    y, x = np.mgrid[0 : 1 : SIZE[0] * 1j, 0 : 1 : SIZE[1] * 1j]
    images = []
    for k in range(count - 1):
        waves = [np.sin(6 * (rng.random() * x + rng.random() * y) + k) for _ in range(channels)]
        levels = 128 + (40 + 20 * k) * np.stack(waves, -1) + rng.normal(0, 6, (*SIZE, channels))
        images.append(levels.clip(0, 255).astype(np.uint8))
    return np.stack([*images, np.full((*SIZE, channels), 77, np.uint8)])


def unit(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def as_pillow(pixels: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(one[..., 0] if one.shape[-1] == 1 else one) for one in pixels]


def levels(images: list[Image.Image]) -> Tensor:
    arrays = [np.asarray(image).reshape(*SIZE, -1) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float()


def changed(pixels: np.ndarray, u: list[float] | None = None, columns: int = 1, **said: object) -> Tensor:
    """The levels, whole or not, that some settings make of images, all by the draws ``u`` or each by its own."""
    chosen = settings_of(**said)
    (operation,) = chosen.operations()
    table = torch.tensor([u or [0.3] * columns] * len(pixels))
    return 255 * augment(
        unit(pixels), dict.fromkeys(operation.streams(), table), [operation], torch.zeros(())
    )


ENHANCED = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
    "sharpness": ImageEnhance.Sharpness,
}


@KINDS
@pytest.mark.parametrize("factor", [0.0, 0.37, 1.0, 1.9])
@pytest.mark.parametrize("key", ENHANCED)
def test_factors_are_pillows_to_a_level_and_what_it_rounds_of_the_ground(key, factor, channels):
    """Pillow rounds the ground to a level, half of one at most, which counts |1 − f| times, and cuts fractions off."""
    pixels = photographs(channels)
    if key == "saturation" and channels == 1:
        return
    kind = ENHANCED[key]
    want = levels([kind(image).enhance(factor) for image in as_pillow(pixels)])
    (operation,) = settings_of(**{key: 0.5}).operations()
    found = 255 * operation.changed(unit(pixels), torch.full((len(pixels), 1, 1, 1), factor))  # type: ignore[attr-defined]
    assert (found - want).abs().max() <= 1 + abs(1 - factor) / 2 + 1e-3
    if factor == 1:
        assert (found - unit(pixels) * 255).abs().max() < 1e-3


@pytest.mark.parametrize("u", [0.0, 0.25, 0.75])
def test_a_factor_is_drawn_from_its_range(u):
    pixels = photographs(1)
    for said, factor in ((0.4, 0.6 + 0.8 * u), ([0.3, 0.7], 0.3 + 0.4 * u), (2.0, 3 * u)):
        found = changed(pixels, [u], brightness=said)
        torch.testing.assert_close(found, (unit(pixels) * factor).clamp(0, 1) * 255, atol=1e-3, rtol=0)


@pytest.mark.parametrize("turn", [-0.5, -0.13, 0.0, 0.31])
def test_hue_is_colorsys(turn):
    pixels = photographs(3)
    found = changed(pixels, [0.0], hue=[turn, turn] if turn else [0.0, 0.4]) / 255
    for image, got in zip(pixels / 255, found, strict=True):
        for y, x in ((0, 0), (3, 9), (11, 2), (22, 16), (17, 5)):
            h, s, v = colorsys.rgb_to_hsv(*image[y, x])
            want = colorsys.hsv_to_rgb((h + turn) % 1, s, v)
            np.testing.assert_allclose(got[:, y, x], want, atol=1e-5)


def test_gamma_is_a_power():
    pixels = photographs(3)
    found = changed(pixels, [0.75], gamma=[0.5, 2.5]) / 255
    torch.testing.assert_close(found, unit(pixels) ** 2.0, atol=1e-6, rtol=0)


def test_grayscale_is_pillows_to_half_a_level():
    pixels = photographs(3)
    found = changed(pixels, grayscale=0.5)
    want = levels([image.convert("L").convert("RGB") for image in as_pillow(pixels)])
    assert (found - want).abs().max() <= 0.5 + 2e-3
    torch.testing.assert_close(changed(pixels, [0.7], grayscale=0.5), unit(pixels) * 255)


TO_THE_LEVEL: dict[str, tuple[dict[str, Any], Callable[[Image.Image], Image.Image]]] = {
    "invert": ({"invert": 1}, ImageOps.invert),
    "autocontrast": ({"autocontrast": 1}, ImageOps.autocontrast),
    "equalize": ({"equalize": 1}, ImageOps.equalize),
    "solarize": (
        {"solarize": {"threshold": 100, "probability": 1}},
        partial(ImageOps.solarize, threshold=100),
    ),
    **{
        f"posterize {bits}": (
            {"posterize": {"bits": bits, "probability": 1}},
            partial(ImageOps.posterize, bits=bits),
        )
        for bits in (1, 4, 7)
    },
}


@KINDS
@pytest.mark.parametrize("name", TO_THE_LEVEL)
def test_tables_of_levels_are_pillows_to_the_level(name, channels):
    pixels = photographs(channels)
    said, pillow = TO_THE_LEVEL[name]
    found = changed(pixels, **said)
    torch.testing.assert_close(
        found, levels([pillow(image) for image in as_pillow(pixels)]), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("name", ["invert", "autocontrast", "equalize", "solarize", "posterize"])
def test_who_is_changed_follows_from_the_draw(name):
    pixels = photographs(1)
    said = {name: 0.3} if name not in ("solarize", "posterize") else {name: {"probability": 0.3}}
    (operation,) = settings_of(**said).operations()
    u = torch.tensor([[0.0], [0.29], [0.3], [0.9], [0.1], [0.5]])
    x = unit(pixels)
    found = augment(x, {name: u}, [operation], torch.zeros(()))
    everywhere = augment(x, {name: torch.zeros(6, 1)}, [operation], torch.zeros(()))
    assert torch.equal(found, torch.where(u[..., None, None] < 0.3, everywhere, x))
    assert not torch.equal(everywhere[:2], x[:2])


@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_scipys_gaussian(channels):
    pixels = photographs(channels)
    x = unit(pixels)
    (operation,) = settings_of(blur=[0.2, 1.7]).operations()
    u = torch.tensor([[0.0], [0.1], [0.35], [0.5], [0.8], [0.999]])
    found = augment(x, {"blur": u}, [operation], torch.zeros(()))
    radius = int(4 * 1.7 + 0.5)
    for image, draw, got in zip(x.double().numpy(), u[:, 0].tolist(), found, strict=True):
        sigma = 0.2 + 1.5 * draw
        want = ndimage.gaussian_filter(image, (0, sigma, sigma), mode="mirror", radius=(0, radius, radius))
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_hardly_any_blur_is_none():
    x = unit(photographs(1))
    (operation,) = settings_of(blur=1e-6).operations()
    assert torch.equal(augment(x, {"blur": torch.zeros(6, 1)}, [operation], torch.zeros(())), x)
