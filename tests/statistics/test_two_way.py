"""The interval with seeds and images random: by hand, against textbook formulas, and how often it covers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from regulab.records import Predictions
from regulab.statistics import compare
from regulab.statistics.intervals import mean_interval
from regulab.statistics.new_images import difference_with_new_images, mean_with_new_images
from regulab.statistics.two_way import two_way
from tests.reporting.factory import make_records


def mean_squares(x):
    """Of seeds, images and the rest, as the analysis of variance has them."""
    n, images = x.shape
    seeds, columns, grand = x.mean(1), x.mean(0), x.mean()
    rest = x - seeds[:, None] - columns[None] + grand
    return (
        images * np.square(seeds - grand).sum() / (n - 1),
        n * np.square(columns - grand).sum() / (images - 1),
        np.square(rest).sum() / ((n - 1) * (images - 1)),
    )


def drawn(generator, n, images, *, image=0.0, seed=0.0):
    """A table of −1, 0 and 1 with effects of images and seeds of these deviations on the chance of a 1."""
    tilt = generator.normal(0, image, images) + generator.normal(0, seed, (n, 1))
    right = generator.random((2, n, images)) < np.array([0.5 + tilt, np.full_like(tilt, 0.5)])
    return right[0].astype(np.int8) - right[1].astype(np.int8)


def test_the_variance_is_that_of_the_mean_squares():
    x = drawn(np.random.default_rng(1), 7, 60, image=0.3, seed=0.2)
    seed, image, rest = mean_squares(x)
    assert seed > rest
    assert image > rest
    found = two_way(x)
    assert found.mean == pytest.approx(x.mean())
    assert found.variance == pytest.approx((seed + image - rest) / (7 * 60))
    assert found.by_seed == pytest.approx(x.mean(1).var(ddof=1) / 7)
    assert found.images == pytest.approx((image - rest) / (7 * 60))
    apart = x.mean(0) - x.mean()
    kurtosis = np.mean(apart**4) / np.mean(apart**2) ** 2
    degrees = min(59, 2 * 60 / (kurtosis - 1))
    squares = seed**2 / 6 + image**2 / degrees + rest**2 / (6 * 59)
    assert found.degrees == pytest.approx((seed + image - rest) ** 2 / squares)
    half = stats.t.ppf(0.975, found.degrees) * np.sqrt(found.variance)
    assert found.interval() == pytest.approx((x.mean() - half, x.mean() + half))


def test_it_is_unbiased_over_many_tables():
    """Images and seeds of known variance; x is −1, 0 or 1, and its own noise is what is left."""
    generator, n, images = np.random.default_rng(2), 6, 40
    tables = [drawn(generator, n, images, image=0.1, seed=0.1) for _ in range(3000)]
    raw = [sum(np.array(mean_squares(x)) * (1, 1, -1)) / (n * images) for x in tables]
    means = [x.mean() for x in tables]
    assert np.mean(raw) == pytest.approx(np.var(means, ddof=1), rel=0.08)


@pytest.mark.parametrize("lacking", ["seeds", "images"])
def test_a_part_under_the_residual_counts_as_nothing(lacking):
    """Rows (columns) that have exactly equal sums vary less than their residual would make them."""
    x = np.array([[1, -1, 0, 0], [0, 0, 1, -1], [-1, 1, 0, 0], [1, -1, -1, 1]], np.int8)
    x = x if lacking == "seeds" else x.T
    seed, image, rest = mean_squares(x)
    assert (seed if lacking == "seeds" else image) == 0
    found = two_way(x)
    assert found.variance == pytest.approx(max(seed, image, rest) / 16)


def test_it_is_never_narrower_than_that_of_seeds_alone():
    generator = np.random.default_rng(3)
    for n in (2, 3, 5, 9):
        x = drawn(generator, n, 50, image=0.3, seed=0.2)
        low, high = two_way(x).interval()
        alone = mean_interval(x.mean(1))
        assert low <= alone[0] + 1e-12
        assert high >= alone[1] - 1e-12


def test_equal_runs_leave_only_images():
    x = np.tile(np.array([1, 0, 0, -1, 1, 0], np.int8), (5, 1))
    found = two_way(x)
    assert found.by_seed == 0
    assert found.variance == pytest.approx(x[0].var(ddof=1) / 6)


def test_nothing_differs_anywhere():
    found = two_way(np.zeros((4, 9), np.int8))
    assert found.interval() == (0, 0)


@pytest.mark.parametrize("shape", [(1, 30), (5, 1), (3, 0)], ids=["one-seed", "one-image", "no-image"])
def test_one_of_anything_says_nothing_of_others(shape):
    assert two_way(np.zeros(shape, np.int8)) is None


def test_strata_count_alike_whatever_their_size():
    generator = np.random.default_rng(4)
    x = drawn(generator, 6, 90, image=0.2)
    strata = np.repeat([0, 1, 2], [60, 20, 10])
    found = two_way(x, strata)
    parts = [two_way(x[:, strata == k]) for k in range(3)]
    assert found.mean == pytest.approx(np.mean([part.mean for part in parts]))
    images = [mean_squares(x[:, strata == k]) for k in range(3)]
    added = sum(
        (image - rest) / (6 * size) for (_, image, rest), size in zip(images, (60, 20, 10), strict=True)
    )
    assert found.images == pytest.approx(max(0, added / 9))


def covered(n, images, *, hard, tilt, seed=0.03, tables=1500):
    """How often the interval with images random, and that of seeds alone, hold the true mean difference, 0.

    Of ``images`` a share ``hard`` changes sides at all, each with a tilt of its own to one of the arms.
    """
    generator, hits = np.random.default_rng(n * images), np.zeros(2)
    for _ in range(tables):
        changing = generator.binomial(images, hard)
        base = generator.normal(0, 1, changing)
        arm = base + generator.normal(0, tilt, changing) + generator.normal(0, seed, (n, 1))
        right = generator.random((2, n, changing)) < 1 / (1 + np.exp(-np.stack([arm, np.tile(base, (n, 1))])))
        x = np.zeros((n, images), np.int8)
        x[:, :changing] = right[0].astype(np.int8) - right[1].astype(np.int8)
        both, alone = two_way(x).interval(), mean_interval(x.mean(1))
        hits += both[0] <= 0 <= both[1], alone[0] <= 0 <= alone[1]
    return hits / tables


@pytest.mark.slow
@pytest.mark.parametrize(("n", "alone"), [(10, 0.91), (40, 0.77)], ids=["10-seeds", "40-seeds"])
def test_seeds_alone_cover_less_the_more_of_them_there_are_and_both_cover(n, alone):
    """On as many images as MNIST tests, of which 2 % change sides."""
    both, seeds_only = covered(n, 10_000, hard=0.02, tilt=0.65)
    assert seeds_only == pytest.approx(alone, abs=0.025)
    assert 0.935 <= both <= 0.975


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "images", "seed"),
    [(2, 1000, 1.0), (3, 1000, 0.5), (5, 360, 0.03), (20, 360, 0.3)],
    ids=["two-seeds", "three-seeds", "few-images", "many-seeds"],
)
def test_it_covers_where_seeds_or_images_are_few(n, images, seed):
    both, _ = covered(n, images, hard=0.05, tilt=0.7, seed=seed, tables=1000)
    assert both >= 0.93


def predictions(right, labels):
    return Predictions(
        labels=labels,
        predicted=np.where(right, labels, 1 - labels),
        confidence=np.ones(len(labels), np.float32),
    )


def test_an_arms_intervals_are_in_points_from_its_predictions():
    generator = np.random.default_rng(5)
    labels = np.arange(80) % 2
    right = generator.random((2, 6, 80)) < 0.8
    runs = {
        (arm, s): predictions(right[k, s], labels) for k, arm in enumerate(("none", "l1")) for s in range(6)
    }
    x = right[1].astype(np.int8) - right[0].astype(np.int8)
    found = difference_with_new_images(runs, "test_accuracy", "l1", "none", range(6))
    assert found == pytest.approx(tuple(100 * end for end in two_way(x).interval()))
    mean = mean_with_new_images(runs, "test_accuracy", "l1", range(6))
    assert mean == pytest.approx(tuple(100 * end for end in two_way(right[1].astype(np.int8)).interval()))
    balanced = difference_with_new_images(runs, "balanced_accuracy", "l1", "none", range(6))
    assert balanced == pytest.approx(tuple(100 * end for end in two_way(x, labels).interval()))
    assert difference_with_new_images(runs, "test_loss", "l1", "none", range(6)) is None
    assert (
        difference_with_new_images(runs, "test_accuracy", "l1", "none", range(7)) is None
    )  # a run without any
    runs["l1", 0] = predictions(right[1, 0], 1 - labels)  # other images
    assert difference_with_new_images(runs, "test_accuracy", "l1", "none", range(6)) is None


def test_it_stands_in_the_comparison_beside_that_of_seeds():
    records = make_records(seeds=6)
    content = compare(records).to_json()["arms"]
    assert content["none"]["difference_ci95_images"] is None
    low, high = content["l1"]["difference_ci95_images"]
    assert low <= content["l1"]["difference_ci95"][0]
    assert high >= content["l1"]["difference_ci95"][1]
    assert content["l1"]["ci95_images"][0] <= content["l1"]["ci95"][0]
    assert compare(replace(records, predictions={})).arms["l1"].difference_ci95_images is None
    assert compare(make_records(seeds=1)).arms["l1"].difference_ci95_images is None


def test_images_that_stay_together_are_spoken_of():
    records = make_records(seeds=6)
    assert "too narrow" not in (compare(records).note or "")
    records.study["data"]["group"] = "patient"
    assert "images of one “patient” stay together" in compare(records).note
    assert "too narrow" not in (compare(records, metric="test_loss").note or "")
