from __future__ import annotations

import numpy as np
import pytest
import torch

from regulab.lessons.kit.lesson import Answer
from regulab.lessons.training.augmentation.experiment import seen_in_training
from regulab.lessons.training.augmentation.lesson import LESSON
from regulab.techniques import stack
from regulab.training.batches import Batches
from regulab.training.trainer import input_plan
from tests.training.setup import material_of, runs_of, study_of

HOLDS, IN_PART, NOT_HERE = Answer.HOLDS, Answer.IN_PART, Answer.NOT_HERE
NOT_SHOWN = Answer.NOT_SHOWN
WORDS = {
    "gap_change_rotate": "lower",
    "gap_change_both": "lower",
    "verdict_rotate": "better",
    "verdict_both": "better",
    "verdict_any": "worse",
    "more_images": "higher",
}


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        ({}, [HOLDS, HOLDS, HOLDS, HOLDS]),
        ({"gap_change_rotate": "undecided"}, [IN_PART, HOLDS, HOLDS, HOLDS]),
        ({"gap_change_rotate": "higher", "gap_change_both": "undecided"}, [NOT_SHOWN, HOLDS, HOLDS, HOLDS]),
        ({"gap_change_rotate": "higher", "gap_change_both": "higher"}, [NOT_HERE, HOLDS, HOLDS, HOLDS]),
        ({"verdict_both": "undecided"}, [HOLDS, IN_PART, HOLDS, HOLDS]),
        ({"verdict_rotate": "worse", "verdict_both": "equivalent"}, [HOLDS, NOT_HERE, HOLDS, HOLDS]),
        ({"more_images": "undecided"}, [HOLDS, HOLDS, NOT_SHOWN, HOLDS]),
        ({"more_images": "lower"}, [HOLDS, HOLDS, NOT_HERE, HOLDS]),
        ({"verdict_any": "undecided"}, [HOLDS, HOLDS, HOLDS, NOT_SHOWN]),
        ({"verdict_any": "better"}, [HOLDS, HOLDS, HOLDS, NOT_HERE]),
    ],
)
def test_the_words_decide(changed, answers):
    assert LESSON.answers({**WORDS, **changed}) == answers


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (2, 3)])
def test_the_images_shown_are_those_that_training_sees(seed, epoch):
    study = study_of({"turned": {"augmentation": {"rotate": 170, "translate": 2}}})
    setup = material_of(study, images=45)
    runs = [run for run in runs_of(study) if run.seed == seed]
    batches = Batches(
        setup.images,
        setup.preprocessing,
        input_plan(setup, runs, stack([run.techniques for run in runs])),
        45,
    )
    orders = batches.orders(epoch)
    x, _ = next(iter(batches.epoch(orders, epoch)))
    shown, _ = seen_in_training(setup, runs[0], epoch, orders[0].tolist())
    torch.testing.assert_close(setup.preprocessing.normalize(shown), x[:, 0])


def test_the_angles_are_those_of_the_images():
    study = study_of({"turned": {"augmentation": 90}})
    setup = material_of(study, images=45)
    run = runs_of(study)[0]
    _, angles = seen_in_training(setup, run, 2, range(45))
    images, _ = seen_in_training(setup, run, 2, range(45))
    assert angles.abs().max() <= 90
    still = int(angles.abs().argmin())
    original = setup.preprocessing.to_unit(setup.images.pixels)
    change = (images - original).abs().mean((1, 2, 3))
    assert change[still] < change.median() / 2, "the image with the smallest angle changes little"
    assert np.corrcoef(angles.abs(), change)[0, 1] > 0.5
