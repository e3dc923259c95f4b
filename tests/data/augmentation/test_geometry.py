"""Crops, rectangles and noise against slicing, torch's own resampling and counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from regulab.data.augmentation import augment
from regulab.data.augmentation.hashed_noise import normals, uniforms
from regulab.data.augmentation.operations.resized_crop import windows
from tests.data.augmentation.settings import settings_of

GREY_MEAN = torch.tensor([0.2, 0.4, 0.7])[:, None, None]


def images(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).random(shape, np.float32))


def changed(x: Tensor, u: Tensor, **said: object) -> Tensor:
    (operation,) = settings_of(**said).operations()
    return augment(x, dict.fromkeys(operation.streams(), u), [operation], GREY_MEAN[: x.shape[1]])


PADDED = {
    "black": (0, {"mode": "constant"}),
    "reflect": ("reflect", {"mode": "reflect"}),
    "edge": ("edge", {"mode": "edge"}),
}


@pytest.mark.parametrize("name", PADDED)
def test_a_crop_is_a_slice_of_the_padded_image(name):
    fill, mode = PADDED[name]
    x = images(49, 3, 6, 9)
    u = torch.tensor([[(i + 0.5) / 7, (j + 0.01) / 7] for i in range(7) for j in range(7)])
    found = changed(x, u, crop={"padding": 3, "fill": fill})
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), **mode)  # type: ignore[call-overload]
    for place in range(49):
        top, left = divmod(place, 7)
        assert np.array_equal(found[place], padded[place, :, top : top + 6, left : left + 9]), (top, left)


@pytest.mark.parametrize("fill", ["mean", [0, 128, 255], 51], ids=str)
def test_the_border_of_a_crop_is_the_fill(fill):
    x = images(1, 3, 5, 5)
    found = changed(x, torch.tensor([[0.0, 0.0]]), crop=2, fill=fill)
    want = (
        GREY_MEAN
        if fill == "mean"
        else torch.tensor([fill] * 3 if isinstance(fill, int) else fill).view(3, 1, 1) / 255
    )
    torch.testing.assert_close(found[0, :, :2], want.float().expand(3, 2, 5))
    assert torch.equal(found[0, :, 2:, 2:], x[0, :, :3, :3])


@pytest.mark.parametrize("size", [(8, 8), (7, 12), (20, 9)], ids=str)
def test_a_resized_crop_is_torchs_interpolation_of_the_window(size):
    x, u = images(40, 2, *size), torch.rand(40, 22, generator=torch.Generator().manual_seed(3))
    found = changed(x, u, resized_crop={"scale": [0.08, 0.9], "ratio": [0.5, 2]})
    top, left, rows, columns = (t.int().tolist() for t in windows(u, (0.08, 0.9), (0.5, 2.0), *size))
    sizes = set()
    for k in range(40):
        window = x[k : k + 1, :, top[k] : top[k] + rows[k], left[k] : left[k] + columns[k]]
        assert window.shape[2:] == (rows[k], columns[k]), "it lies within the image"
        want = F.interpolate(window, size, mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(found[k], want, atol=1e-5, rtol=0)
        sizes.add((rows[k], columns[k]))
    assert len(sizes) > 8


def test_windows_have_the_first_area_and_ratio_that_fits_and_a_uniform_place():
    """Against the published procedure, try by try."""
    height, width, scale, ratio = 20, 30, (0.1, 1.0), (0.75, 1.333)
    u = torch.rand(300, 22, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = torch.stack(windows(u, scale, ratio, height, width), 1).int().tolist()
    tries = set()
    for draws, got in zip(u.tolist(), found, strict=True):
        for k in range(10):
            area = (scale[0] + draws[k] * (scale[1] - scale[0])) * height * width
            shape = math.exp(math.log(ratio[0]) + draws[10 + k] * math.log(ratio[1] / ratio[0]))
            columns, rows = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < columns <= width and 0 < rows <= height:
                top, left = int(draws[20] * (height - rows + 1)), int(draws[21] * (width - columns + 1))
                assert got == [top, left, rows, columns]
                tries.add(k)
                break
    assert len(tries) > 2


@pytest.mark.parametrize(
    ("size", "ratio", "want"),
    [
        ((40, 4), (2.0, 3.0), (19, 0, 2, 4)),
        ((4, 40), (0.3, 0.5), (0, 19, 4, 2)),
        ((9, 9), (0.5, 2.0), (0, 0, 9, 9)),
    ],
    ids=str,
)
def test_where_no_window_fits_it_is_the_middle(size, ratio, want):
    found = windows(torch.full((1, 22), 0.999), (0.99, 1.0), ratio, *size)
    assert tuple(int(one) for one in found) == want


@pytest.mark.parametrize("side", [3, 4])
def test_cutout_is_a_slice(side):
    x = images(35, 3, 5, 7)
    u = torch.tensor([[(y + 0.5) / 5, (z + 0.5) / 7] for y in range(5) for z in range(7)])
    found = changed(x, u, cutout=side)
    for place in range(35):
        want = x[place].clone()
        y, z = divmod(place, 7)
        top, left = y - side // 2, z - side // 2
        want[:, max(0, top) : top + side, max(0, left) : left + side] = GREY_MEAN
        assert torch.equal(found[place], want)


def test_erasing_fills_its_window_in_the_images_whose_draw_is_under_the_probability():
    x, u = images(60, 3, 12, 15), torch.rand(60, 25, generator=torch.Generator().manual_seed(6))
    found = changed(
        x, u, erase={"probability": 0.4, "scale": [0.1, 0.3], "ratio": [0.3, 3.3], "value": [255, 0, 51]}
    )
    top, left, rows, columns = (t.int().tolist() for t in windows(u[:, :22], (0.1, 0.3), (0.3, 3.3), 12, 15))
    colour = torch.tensor([1.0, 0.0, 0.2])[:, None, None]
    erased = 0
    for k in range(60):
        want = x[k].clone()
        if u[k, 22] < 0.4:
            want[:, top[k] : top[k] + rows[k], left[k] : left[k] + columns[k]] = colour
            erased += 1
        assert torch.equal(found[k], want)
    assert 10 < erased < 40


def test_random_erasing_of_two_images_differs_and_repeats():
    x, u = images(2, 3, 12, 12), torch.rand(2, 25, generator=torch.Generator().manual_seed(8))
    u[1, :22], x[1] = u[0, :22], x[0]
    one, other = (changed(x, u, erase={"probability": 1, "value": "random"}) for _ in range(2))
    assert torch.equal(one, other)
    inside = one[0] != x[0]
    assert inside.any()
    assert torch.equal(inside, one[1] != x[1])
    assert (one[0] != one[1])[inside].all()


def test_noise_is_normal_independent_and_of_the_deviation():
    z = normals(
        torch.rand(40, 2, generator=torch.Generator().manual_seed(1)), torch.empty(40, 3, 31, 33)
    ).double()
    n = z.numel()
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    # five standard errors of each
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs(z.square().mean() - 1) < 5 * math.sqrt(2 / n)
    flat = z.flatten(1)
    for lag in (1, 33, 31 * 33, flat.shape[1] // 2):  # the last: cosine and sine of one angle
        assert abs((flat[:, lag:] * flat[:, :-lag]).mean()) < 5 / math.sqrt(40 * (flat.shape[1] - lag))
    assert abs((flat[1:] * flat[:-1]).mean()) < 5 / math.sqrt(39 * flat.shape[1])


def test_uniforms_are_uniform():
    found = uniforms(
        torch.rand(20, 2, generator=torch.Generator().manual_seed(1)), torch.empty(20, 1, 51, 51)
    )
    assert stats.kstest(found.double().flatten().numpy(), "uniform").pvalue > 1e-3


def test_noise_adds_its_deviation_and_stays_within_the_range():
    x, u = torch.full((8, 1, 40, 40), 0.5), torch.rand(8, 3, generator=torch.Generator().manual_seed(2))
    u[:, 0] = torch.linspace(0, 0.875, 8)
    found = changed(x, u, noise=[0.0, 0.08])
    for k in range(8):
        assert found[k].std() == pytest.approx(0.01 * k, rel=0.1)
    loud = changed(x, u, noise=1.0)
    assert loud.min() == 0
    assert loud.max() == 1
