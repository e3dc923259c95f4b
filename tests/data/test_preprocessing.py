import numpy as np
import pytest
import torch

from regulab.config.images import ChannelConstants
from regulab.data import Images
from regulab.data.preprocessing import fit
from regulab.errors import UserError


def images(pixels) -> Images:
    return Images(np.asarray(pixels, np.uint8), np.zeros(len(pixels), np.int64))


@pytest.mark.parametrize("count", [1, 7, 5000])
def test_constants_equal_numpys_over_the_whole_array(count):
    pixels = np.random.default_rng(2).integers(3, 250, (count, 5, 3, 3))
    unit = pixels / 255
    found = fit(images(pixels), "dataset")
    np.testing.assert_allclose(found.mean.flatten(), unit.mean((0, 1, 2)), rtol=1e-7)
    np.testing.assert_allclose(found.deviation.flatten(), unit.std((0, 1, 2)), rtol=1e-7)
    assert found.mean.dtype == found.deviation.dtype == torch.float32
    assert found.mean.shape == found.deviation.shape == (3, 1, 1)


@pytest.mark.parametrize("count", [2, 7, 5000])
def test_constants_per_pixel_equal_numpys_over_the_images(count):
    pixels = np.random.default_rng(3).integers(3, 250, (count, 5, 3, 2))
    unit = np.moveaxis(pixels / 255, -1, 1)
    found = fit(images(pixels), "pixel")
    np.testing.assert_allclose(found.mean, unit.mean(0), rtol=1e-7)
    np.testing.assert_allclose(found.deviation, unit.std(0), rtol=1e-6)
    x = found.normalize(torch.from_numpy(unit).float()).double()
    torch.testing.assert_close(x.mean(0), torch.zeros(2, 5, 3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.var(0, correction=0), torch.ones(2, 5, 3).double(), atol=1e-5, rtol=0)


def test_a_constant_pixel_becomes_0_and_stays_finite():
    pixels = np.random.default_rng(3).integers(0, 256, (9, 4, 4, 1))
    pixels[:, 1, 2] = 201
    preprocessing = fit(images(pixels), "pixel")
    x = preprocessing.normalize(preprocessing.to_unit(torch.from_numpy(pixels.astype(np.uint8))))
    assert preprocessing.deviation[0, 1, 2] == 1
    assert x[:, 0, 1, 2].abs().max() < 1e-7
    assert torch.isfinite(x).all()


def test_normalized_training_images_have_mean_0_and_deviation_1():
    pixels = np.random.default_rng(5).integers(0, 256, (40, 7, 5, 3)) // [1, 2, 5]
    preprocessing = fit(images(pixels), "dataset")
    x = preprocessing.normalize(preprocessing.to_unit(torch.from_numpy(pixels.astype(np.uint8)))).double()
    assert x.shape == (40, 3, 7, 5)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.var((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-6, rtol=0)


def test_a_constant_channel_becomes_0_and_stays_finite():
    pixels = np.full((3, 4, 4, 1), 77)
    preprocessing = fit(images(pixels), "dataset")
    assert preprocessing.deviation.flatten().tolist() == [1]
    x = preprocessing.normalize(preprocessing.to_unit(torch.full((2, 4, 4, 1), 77, dtype=torch.uint8)))
    assert x.abs().max() < 1e-7


def test_to_unit_divides_by_255_exactly_and_moves_channels():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(2, 8, 8, 2)
    unit = fit(images(pixels.numpy()), "none").to_unit(pixels)
    assert unit.shape == (2, 2, 8, 8)
    assert torch.equal(unit, (pixels.permute(0, 3, 1, 2).double() / 255).float())
    assert pixels[1, 7, 7, 1] == 255  # the stored bytes are not changed


def test_none_leaves_values_as_they_are():
    preprocessing = fit(images(np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3))), "none")
    x = torch.rand(2, 3, 2, 2)
    assert torch.equal(preprocessing.normalize(x), x)


def test_leading_axes_are_free():
    preprocessing = fit(images(np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3))), "dataset")
    x = torch.rand(4, 5, 3, 2, 7)
    assert torch.equal(preprocessing.normalize(x)[2, 3], preprocessing.normalize(x[2, 3]))


def test_the_constants_of_imagenet_are_those_of_red_green_and_blue():
    pixels = np.random.default_rng(6).integers(0, 256, (3, 4, 5, 3))
    found = fit(images(pixels), "imagenet")
    x = found.normalize(found.to_unit(torch.from_numpy(pixels.astype(np.uint8))))
    want = (np.moveaxis(pixels / 255, -1, 1) - [[[0.485]], [[0.456]], [[0.406]]]) / [
        [[0.229]],
        [[0.224]],
        [[0.225]],
    ]
    np.testing.assert_allclose(x, want, rtol=1e-5, atol=1e-6)


def test_given_constants_are_of_each_channel_or_of_all():
    colour = images(np.random.default_rng(6).integers(0, 256, (3, 4, 5, 3)))
    found = fit(colour, ChannelConstants(mean=(0.5,), std=(0.1, 0.2, 0.4)))
    assert found.mean.flatten().tolist() == [0.5] * 3
    np.testing.assert_allclose(found.deviation.flatten(), [0.1, 0.2, 0.4], rtol=1e-6)
    assert found.mean.shape == found.deviation.shape == (3, 1, 1)
    assert found.mean.dtype == torch.float32


@pytest.mark.parametrize(
    ("normalize", "message"),
    [
        ("imagenet", r"data\.normalize: the images have 1 channel; got 'imagenet'; expected colour images; write"),
        (ChannelConstants(mean=(0.1, 0.2), std=(1,)), r"data\.normalize\.mean: the images have 1 channel; got \[0\.1"),
        (ChannelConstants(mean=(0.1,), std=(1, 1, 1)), r"data\.normalize\.std: .*expected 1 value"),
    ],
)  # fmt: skip
def test_constants_for_other_channels_are_refused(normalize, message):
    with pytest.raises(UserError, match=message):
        fit(images(np.zeros((3, 4, 5, 1))), normalize)
