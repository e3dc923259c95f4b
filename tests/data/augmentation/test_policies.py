"""TrivialAugment and RandAugment against Pillow, operation by operation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from regulab.data.augmentation import augment
from regulab.data.augmentation.operations.rand_augment import SPACE
from regulab.data.augmentation.operations.trivial_augment import WIDE
from regulab.data.augmentation.policies import OPERATIONS, DrawnOperations, Space, by_policy
from tests.data.augmentation.settings import settings_of
from tests.data.augmentation.test_pillow import SIZE, as_pillow, levels, photographs, unit

BLACK = torch.zeros(3, 1, 1)
HEIGHT, WIDTH = SIZE


def enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Callable[..., Image.Image]:
    return lambda image, sign, part, space: kind(image).enhance(1 + sign * part * space.factor)


def transformed(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


def shift(part: float, space: Space, size: int) -> int:
    return int(part * space.shift * (size if space.of_size else 1))


PILLOWS: dict[str, Callable[..., Image.Image]] = {
    "identity": lambda image, sign, part, space: image,
    "shear x": lambda image, sign, part, space: transformed(image, 1, sign * part * space.shear, 0, 0, 1, 0),
    "shear y": lambda image, sign, part, space: transformed(image, 1, 0, 0, sign * part * space.shear, 1, 0),
    "translate x": lambda i, sign, part, space: transformed(
        i, 1, 0, -sign * shift(part, space, WIDTH), 0, 1, 0
    ),
    "translate y": lambda i, sign, part, space: transformed(
        i, 1, 0, 0, 0, 1, -sign * shift(part, space, HEIGHT)
    ),
    "rotate": lambda image, sign, part, space: image.rotate(sign * part * space.rotate),
    "brightness": enhanced(ImageEnhance.Brightness),
    "colour": enhanced(ImageEnhance.Color),
    "contrast": enhanced(ImageEnhance.Contrast),
    "sharpness": enhanced(ImageEnhance.Sharpness),
    "posterize": lambda image, sign, part, space: ImageOps.posterize(image, 8 - round(part * space.bits)),
    "solarize": lambda image, sign, part, space: ImageOps.solarize(image, 255 * (1 - part)),
    "autocontrast": lambda image, sign, part, space: ImageOps.autocontrast(image),
    "equalize": lambda image, sign, part, space: ImageOps.equalize(image),
}
MOVING = ("shear x", "shear y", "rotate")


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "colour"])
@pytest.mark.parametrize("space", [WIDE, SPACE], ids=["trivial", "rand"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_pillows(name, space, channels):
    """To one level, which Pillow's blend cuts off; where pixels move, in all but a few, half-way between two."""
    pixels = photographs(channels)
    for magnitude in (0, 1, 9, 16, 30):
        for sign in (-1.0, 1.0):
            drawn = DrawnOperations(
                space,
                torch.full((6,), float(OPERATIONS.index(name))),
                torch.full((6,), float(magnitude)),
                torch.full((6,), sign),
            )
            found = 255 * by_policy(unit(pixels), [drawn], 0.0, BLACK[:channels])
            want = levels([PILLOWS[name](image, sign, magnitude / 30, space) for image in as_pillow(pixels)])
            apart = (found - want).abs()
            if name in MOVING:
                # sin 30° is 1/2, and so many a pixel half-way
                assert (apart > 1e-3).float().mean() < 0.025, (magnitude, sign)
            else:
                assert apart.max() < 1.001, (magnitude, sign)
                assert (apart > 1e-3).float().mean() < 0.02, (magnitude, sign)


def policy(u: Tensor, **said: object) -> Tensor:
    chosen = settings_of(**said)
    pixels = np.repeat(photographs(3)[:1], len(u), 0)
    streams = [stream for one in chosen.operations() for stream in one.streams()]
    return augment(unit(pixels), dict.fromkeys(streams, u), chosen.operations(), BLACK)


def test_trivial_augment_draws_operation_magnitude_and_sign():
    u = torch.tensor([[(k + 0.5) / 14, 0.999, sign] for k in range(14) for sign in (0.2, 0.7)])
    found = policy(u, trivial_augment=True)
    image = as_pillow(photographs(3)[:1])[0]
    for row, (k, sign) in enumerate((k, sign) for k in range(14) for sign in (-1, 1)):
        want = levels([PILLOWS[OPERATIONS[k]](image, sign, 1.0, WIDE)])[0]
        assert ((255 * found[row] - want).abs() > 1.001).float().mean() < 0.01, OPERATIONS[k]


def test_rand_augment_does_n_operations_at_one_magnitude():
    u = torch.tensor([[10.5 / 14, 0.9]])  # posterize twice: as once
    one, two = (policy(u, rand_augment={"n": n, "m": 15}) for n in (1, 2))
    assert torch.equal(one, two)
    image = as_pillow(photographs(3)[:1])[0]
    assert torch.equal((255 * one[0]).round(), levels([ImageOps.posterize(image, 6)])[0])
    u = torch.tensor([[11.5 / 14, 0.9]])  # solarize twice
    want = ImageOps.solarize(ImageOps.solarize(image, 128), 128)
    assert torch.equal((255 * policy(u, rand_augment={"m": 15})[0]).round(), levels([want])[0])


@pytest.mark.parametrize("fill", [200.0, [10.0, 20.0, 30.0], "mean", "edge", "reflect"], ids=str)
def test_what_comes_from_outside_is_the_fill(fill):
    chosen = settings_of(trivial_augment=True, fill=fill)
    u = torch.tensor([[3.5 / 14, 0.25, 0.9]])  # bin 7: to the right by 7 pixels
    x = unit(photographs(3)[:1])
    mean = torch.tensor([0.2, 0.4, 0.6])[:, None, None]
    found = augment(x, {"trivial_augment": u}, chosen.operations(), mean)
    torch.testing.assert_close(found[..., 7:], x[..., :-7])
    want = {
        "mean": (mean * 255).round().div(255).expand(3, HEIGHT, 7),
        "edge": x[0, :, :, :1].expand(-1, -1, 7),
        "reflect": x[0, :, :, 1:8].flip(2),
    }
    flat = (
        torch.tensor(fill if isinstance(fill, list) else [fill] * 3).view(3, 1, 1) / 255
        if not isinstance(fill, str)
        else None
    )
    torch.testing.assert_close(found[0, :, :, :7], want[fill] if flat is None else flat.expand(3, HEIGHT, 7))
