"""Label noise: so many training labels wrong, the same for every study of the images, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regulab.config import Data, Protocol, Study
from regulab.data import load
from regulab.errors import UserError
from regulab.identity import findings
from regulab.training.setup import set_up

NOWHERE = Path("unused")


def labels(share: float | None) -> np.ndarray:
    return load(Data(label_noise=share), Protocol(), NOWHERE).train.labels


def test_exactly_that_share_is_wrong_and_every_class_is_drawn_alike():
    true, wrong = labels(None), labels(0.5)
    changed = true != wrong
    assert changed.sum() == round(0.5 * 1077) == 538
    moves = np.bincount((wrong - true)[changed] % 10, minlength=10)
    assert moves[0] == 0
    assert ((moves[1:] > 35) & (moves[1:] < 85)).all()  # 60 expected, deviation 7
    assert set(wrong) == set(range(10))


def test_validation_and_test_keep_their_labels():
    clean, noisy = (load(Data(label_noise=share), Protocol(), NOWHERE) for share in (None, 0.3))
    assert np.array_equal(clean.validation.labels, noisy.validation.labels)
    assert np.array_equal(clean.open_test().labels, noisy.open_test().labels)
    assert np.array_equal(clean.train.pixels, noisy.train.pixels)
    assert noisy.seal is not None
    assert clean.seal is not None
    assert noisy.seal.content_hash == clean.seal.content_hash


def test_a_larger_share_replaces_what_a_smaller_one_does():
    true, some, more = labels(None), labels(0.1), labels(0.4)
    changed = some != true
    assert np.array_equal(some[changed], more[changed])


def test_the_page_says_what_training_measures_are_of():
    *_, note = load(Data(label_noise=0.2), Protocol(), NOWHERE).notes
    assert note == (
        "data: label noise: 215 of the 1,077 training labels were replaced by another class, the same in every arm and "
        "seed; training losses and accuracies are of these labels, validation and test of the true ones"
    )


def test_noise_that_changes_nothing_is_refused():
    with pytest.raises(
        UserError, match=r"so little noise changes no label; got 0\.0004; expected at least 0\.00046"
    ):
        labels(0.0004)


@pytest.mark.parametrize("share", [1, -0.1, 1.5, "much", True, float("nan")])
def test_shares_outside_0_to_1_are_refused(share):
    with pytest.raises(UserError, match="label_noise"):
        Data(label_noise=share)


def test_no_noise_is_the_study_without():
    assert Study(data=Data(label_noise=0)).identity() == Study().identity()
    assert Study(data=Data(label_noise=0)).to_yaml() == Study().to_yaml()
    assert Study(data=Data(label_noise=0.1)).identity() != Study().identity()


def test_the_noise_is_part_of_what_must_stay():
    study = Study(data=Data(label_noise=0.1))
    found = findings(set_up(study, NOWHERE, "cpu"))
    assert len(found["noise_hash"]) == 64
    assert "noise_hash" not in findings(set_up(Study(), NOWHERE, "cpu"))
