from __future__ import annotations

import numpy as np
import pytest
import torch

from regulab.data import Images
from regulab.data.augmentation import AugmentSettings, augment, columns_of, draw_epoch
from regulab.data.preprocessing import fit
from regulab.data.stored_pixels import StoredPixels
from regulab.streams import Streams
from regulab.training.batches import Batches, ImageTensors, InputPlan, steps_per_epoch

CPU = torch.device("cpu")
SEEDS = [Streams("b", 0), Streams("b", 5)]
TURN = AugmentSettings(rotate=30)


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return Images(pixels=rng.integers(0, 256, (23, 6, 5, 3), dtype=np.uint8), labels=np.arange(23) % 4)


def batches(images, settings, seed_of, setting_of, size=7):
    plan = InputPlan(seeds=SEEDS, settings=settings, seed_of=seed_of, setting_of=setting_of)
    return Batches(ImageTensors.of(images, CPU), fit(images, "dataset"), plan, size)


def test_each_run_gets_its_seeds_images_in_its_seeds_order(images):
    some = batches(images, [None], [0, 0, 1], [0, 0, 0])
    orders = some.orders(4)
    preprocessing = fit(images, "dataset")
    seen = 0
    for step, (x, labels) in enumerate(some.epoch(orders, 4)):
        assert x.shape == (7, 3, 3, 6, 5)
        for run, seed in enumerate((0, 0, 1)):
            chosen = orders[seed, 7 * step : 7 * step + 7]
            want = preprocessing.normalize(preprocessing.to_unit(torch.from_numpy(images.pixels[chosen])))
            torch.testing.assert_close(x[:, run], want)
            assert labels[:, run].tolist() == images.labels[chosen].tolist()
        seen += 1
    assert seen == some.steps == 3


def test_orders_are_permutations_that_change_with_epoch_and_seed(images):
    some = batches(images, [None], [0, 1], [0, 0])
    first, second = some.orders(1), some.orders(2)
    assert (np.sort(first) == np.arange(23)).all()
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, second)
    assert np.array_equal(first, batches(images, [TURN], [0, 1], [0, 0]).orders(1)), (
        "augmentation leaves the order"
    )


def test_an_epoch_that_was_prepared_is_the_same(images):
    given, prepared = (batches(images, [None, TURN], [0, 1], [1, 0]) for _ in "ab")
    prepared.prepare(2)
    for epoch in (1, 2, 3):  # also where another begins in between
        orders = prepared.orders(epoch)
        assert np.array_equal(orders, given.orders(epoch))
        pairs = zip(prepared.epoch(orders, epoch), given.epoch(given.orders(epoch), epoch), strict=True)
        for (x, labels), (want, want_labels) in pairs:
            assert torch.equal(x, want)
            assert torch.equal(labels, want_labels)
        prepared.prepare(epoch + 1)


def test_augmented_and_plain_runs_of_a_seed_share_images_and_draws(images):
    some = batches(images, [None, TURN], [0, 0, 1], [0, 1, 1])
    orders = some.orders(1)
    x, _ = next(some.epoch(orders, 1))
    preprocessing = fit(images, "dataset")
    for run, seed in ((1, 0), (2, 1)):
        chosen = orders[seed, :7]
        drawn = draw_epoch(SEEDS[seed], 1, 23, columns_of([TURN]))
        draws = {stream: torch.from_numpy(table)[chosen] for stream, table in drawn.items()}
        unit = preprocessing.to_unit(torch.from_numpy(images.pixels[chosen]))
        torch.testing.assert_close(
            x[:, run], preprocessing.normalize(augment(unit, draws, TURN.operations(), torch.zeros(())))
        )
    assert not torch.equal(x[:, 0], x[:, 1])


def test_whole_batches_only_and_never_none():
    assert steps_per_epoch(23, 7) == 3
    assert steps_per_epoch(5, 7) == 1


def test_what_fills_from_outside_is_the_mean_of_the_training_part_though_its_file_holds_more(images):
    bright = np.concatenate([images.pixels, np.full_like(images.pixels, 255)])
    kept = Images(StoredPixels(bright, np.arange(23)), images.labels)
    turn = AugmentSettings(rotate=170, fill="mean")
    in_memory, in_a_file = (batches(one, [turn], [0, 1], [0, 0]) for one in (images, kept))
    for (x, _), (y, _) in zip(*(one.epoch(one.orders(1), 1) for one in (in_memory, in_a_file)), strict=True):
        assert torch.equal(x, y)
