import numpy as np
import pytest
from scipy.stats import rankdata

from regulab.data.histograms import (
    equalize,
    equalize_adaptively,
    hue,
    limited,
    luminance,
    normalize,
    with_luminance,
)

SHAPES = [(1, 1), (1, 7), (5, 3), (40, 31), (64, 64)]


def picture(seed: int, *shape: int, levels: int = 200) -> np.ndarray:
    """Off the origin and skewed, as photographs are."""
    random = np.random.default_rng(seed)
    return np.floor(levels * (0.2 + 0.5 * random.random(shape) ** 3)) / levels


@pytest.mark.parametrize("shape", [(4, 5), (6, 3, 3)])
def test_normalized_is_an_affine_map_onto_0_to_1(shape):
    x = picture(1, *shape)
    y = normalize(x)
    assert y.min() == 0
    assert y.max() == 1
    slope, intercept = np.polyfit(x.ravel(), y.ravel(), 1)
    np.testing.assert_allclose(y, slope * x + intercept, atol=1e-12)
    assert slope > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_a_constant_picture_comes_back_as_it_is(shape):
    x = np.full(shape, 0.37)
    for change in (normalize, equalize, equalize_adaptively):
        assert np.array_equal(change(x), x)


def test_equalized_by_hand():
    x = np.array([[0.2, 0.2, 0.2, 0.5], [0.5, 0.9, 0.9, 1.0]])
    share = np.array([[3, 3, 3, 5], [5, 7, 7, 8]]) / 8
    np.testing.assert_allclose(equalize(x), (share - 3 / 8) / (5 / 8))


@pytest.mark.parametrize("seed", range(3))
def test_equalizing_levels_that_all_differ_gives_their_ranks(seed):
    x = np.random.default_rng(seed).normal(3, 0.1, (23, 17))
    ranks = rankdata(x).reshape(x.shape)
    np.testing.assert_allclose(equalize(x), (ranks - 1) / (x.size - 1), atol=1e-12)


def test_equalizing_depends_on_the_order_of_levels_alone():
    x = picture(4, 30, 20)
    np.testing.assert_allclose(equalize(x), equalize(np.exp(3 * x)), atol=1e-12)


def test_one_tile_without_a_limit_is_global_equalization():
    x = 2 + np.floor(65 * np.random.default_rng(5).random((41, 29)) ** 2) / 64
    bins = 64 * 16  # exactly: every level on the lower edge of a bin of its own
    assert np.ptp(x) == 1
    share = (rankdata(x, method="min") - 1).reshape(x.shape) / x.size
    found = equalize_adaptively(x, tiles=1, clip=np.inf, bins=bins)
    below_top = x < x.max()  # the top level lies on the upper edge of its bin
    np.testing.assert_allclose(found[below_top], share[below_top], atol=1e-9)
    np.testing.assert_allclose(found[~below_top], 1)


@pytest.mark.parametrize("shape", [(9, 9), (40, 31), (100, 17)])
def test_a_limit_of_one_is_min_max_normalization(shape):
    x = picture(6, *shape)
    np.testing.assert_allclose(equalize_adaptively(x, clip=1), normalize(x), atol=1e-9)


@pytest.mark.parametrize("clip", [1.0, 1.5, 4.0])
def test_no_mapping_is_steeper_than_the_limit(clip):
    x = np.sort(picture(7, 1, 4000, levels=10**6))  # one tile, pixels in order: the mapping itself
    y = equalize_adaptively(x, tiles=1, clip=clip)
    rise, run = np.diff(y.ravel()), np.diff(normalize(x).ravel())
    assert (rise <= clip * run + 1e-9).all()
    assert rise.max() > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_adaptive_equalization_stays_in_range_at_any_size(shape):
    y = equalize_adaptively(picture(8, *shape), tiles=8, clip=3)
    assert y.shape == shape
    assert y.min() >= 0
    assert y.max() <= 1 + 1e-12


def test_a_tile_is_mapped_by_its_own_histogram_at_its_centre():
    """And half-way between two centres by the mean of both mappings."""
    random = np.random.default_rng(9)
    dark, bright = random.random((21, 21)) * 0.4, 0.5 + random.random((21, 21)) * 0.5
    dark[0, 0], bright[0, 0] = 0, 1
    x = np.concatenate((dark, bright), axis=1)
    x[10, 10] = x[10, 31] = x[10, 20] = x[10, 21] = 0.45
    both = equalize_adaptively(x, tiles=2, clip=np.inf, bins=64)
    assert both[10, 10] > 0.95, "brighter than all that is dark"
    assert both[10, 31] < 0.05, "darker than all that is bright"
    assert both[10, 20] == pytest.approx((both[10, 10] * 11 + both[10, 31] * 10) / 21)


@pytest.mark.parametrize("clip", [1.0, 2.0, 5.0, 400.0])
def test_a_limited_histogram_keeps_its_sum(clip):
    histogram = np.random.default_rng(1).random(256) ** 12
    found = limited(histogram, clip)
    assert found.sum() == pytest.approx(histogram.sum(), rel=1e-9)
    assert found.max() <= clip * histogram.mean() * (1 + 1e-12)
    below = found < found.max()
    assert np.ptp((found - histogram)[below]) < 1e-12, "every other bin got the same"


@pytest.mark.parametrize("seed", range(3))
def test_another_luminance_leaves_every_hue(seed):
    random = np.random.default_rng(seed)
    x, target = random.random((19, 23, 3)), random.random((19, 23))
    y = with_luminance(x, target)
    np.testing.assert_allclose(luminance(y), target, atol=1e-12)
    assert y.min() >= -1e-12
    assert y.max() <= 1 + 1e-12
    coloured = hue(y)[1] > 1e-6
    turned = np.abs((hue(y)[0] - hue(x)[0] + 180) % 360 - 180)
    assert coloured.mean() > 0.9
    assert turned[coloured].max() < 1e-6


def test_a_grey_pixel_takes_any_luminance():
    x = np.full((1, 3, 3), 0.5)
    target = np.array([[0, 0.3, 1]])
    np.testing.assert_allclose(with_luminance(x, target), np.repeat(target[..., None], 3, -1), atol=1e-12)


def test_equalizing_each_channel_turns_hues():
    x = np.stack([picture(s, 30, 30) ** p for s, p in ((1, 1), (2, 2), (3, 0.5))], -1)
    y = np.stack([equalize(x[..., c]) for c in range(3)], -1)
    assert np.abs((hue(y)[0] - hue(x)[0] + 180) % 360 - 180).mean() > 5


@pytest.mark.parametrize(
    ("colour", "angle"), [((1, 0, 0), 0), ((1, 1, 0), 60), ((0, 1, 0), 120), ((0, 0, 1), -120)]
)
def test_hues_of_pure_colours(colour, angle):
    found, chroma = hue(np.array([[colour]], float) * 0.5 + 0.2)
    assert found[0, 0] == pytest.approx(angle, abs=1e-9)
    assert chroma[0, 0] == pytest.approx(0.5)
