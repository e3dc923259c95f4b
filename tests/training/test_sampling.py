"""Balanced sampling: every class equally often, no image of a class more often than another, the same for all arms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regulab.data import Images
from regulab.data.augmentation import AugmentSettings, augment, columns_of, draw_epoch
from regulab.data.preprocessing import fit
from regulab.streams import Streams
from regulab.training.batches import Batches, ImageTensors, InputPlan
from regulab.training.fleet import Fleet
from regulab.training.notes import notes
from regulab.training.sampling import balanced_order
from tests.training.setups import runs_of, setup_of, study_of

SEED = Streams("s", 3)
LABELS = np.repeat([0, 1, 3], [90, 8, 2])


def test_every_class_gives_the_same_number_of_images():
    order = balanced_order(LABELS, SEED, 1)
    assert order.shape == (100,)
    assert sorted(np.bincount(LABELS[order]).tolist()) == [0, 33, 33, 34]


def test_within_a_class_no_image_comes_again_before_all_others_have():
    times = np.bincount(balanced_order(LABELS, SEED, 1), minlength=100)
    assert set(times[:90]) == {0, 1}
    assert set(times[90:98]) <= {4, 5}
    assert set(times[98:]) <= {16, 17}


def test_epochs_and_seeds_draw_anew_and_repeat():
    one = balanced_order(LABELS, SEED, 1)
    assert np.array_equal(one, balanced_order(LABELS, SEED, 1))
    assert not np.array_equal(one, balanced_order(LABELS, SEED, 2))
    assert not np.array_equal(one, balanced_order(LABELS, Streams("s", 4), 1))


def test_over_epochs_the_odd_image_goes_to_every_class():
    most = [int(np.argmax(np.bincount(LABELS[balanced_order(LABELS, SEED, epoch)]))) for epoch in range(40)]
    assert set(most) == {0, 1, 3}


def test_the_arms_of_a_seed_share_the_draws_and_record_them():
    study = study_of({"none": {}, "l2": {"l2": 0.1}}, train={"sampling": "balanced"}, seeds=2)
    setup, runs = setup_of(study), runs_of(study)
    orders = Fleet(setup, runs).train_epoch(1).orders
    assert orders[0] == orders[1] != orders[2] == orders[3]
    plain = study_of({"none": {}, "l2": {"l2": 0.1}}, seeds=2)
    assert Fleet(setup_of(plain), runs).train_epoch(1).orders[0] != orders[0]


def test_the_report_tells_how_often_images_come():
    """150 images of 10 classes: 15 draws for each; “5” has 12 images and “0” 17. 148 make whole batches of 37."""
    setup = setup_of(study_of({"none": {}}, train={"sampling": "balanced"}))
    assert notes(setup) == [
        "an epoch draws 148 images in batches of 37, every class equally often; on average it takes one of the 12 of "
        "“5” 1.2 times, one of the 17 of “0” 0.88 times"
    ]


@pytest.mark.parametrize("balanced", [True, False])
def test_an_image_that_comes_twice_is_turned_anew(balanced):
    """Each place in the order has a draw of its own; without balance each image has one, as ever."""
    rng = np.random.default_rng(0)
    images = Images(pixels=rng.integers(0, 256, (100, 6, 6, 1), dtype=np.uint8), labels=LABELS)
    turn = AugmentSettings(rotate=40)
    plan = InputPlan(seeds=[SEED], settings=[turn], seed_of=[0], setting_of=[0], balanced=balanced)
    preprocessing = fit(images, "dataset")
    some = Batches(ImageTensors.of(images, torch.device("cpu")), preprocessing, plan, 50)
    orders = some.orders(2)
    drawn = draw_epoch(SEED, 2, 100, columns_of([turn]))
    for step, (x, labels) in enumerate(some.epoch(orders, 2)):
        chosen = orders[0, 50 * step : 50 * step + 50]
        rows = np.arange(50 * step, 50 * step + 50) if balanced else chosen
        draws = {stream: torch.from_numpy(table)[rows] for stream, table in drawn.items()}
        unit = preprocessing.to_unit(torch.from_numpy(images.pixels[chosen]))
        changed = augment(unit, draws, turn.operations(), torch.zeros(()))
        torch.testing.assert_close(x[:, 0], preprocessing.normalize(changed))
        assert labels[:, 0].tolist() == LABELS[chosen].tolist()
