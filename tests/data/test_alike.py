"""Notes on the names of classes that a person may take for one, and on those that no image has."""

from __future__ import annotations

import numpy as np
import pytest

from regulab.config import Data, Protocol
from regulab.data import load
from regulab.data.alike import alike, without_images


@pytest.mark.parametrize(
    "names",
    [
        ("Cat", "cat"),
        ("a", "a "),
        ("a b", "a  b"),
        ("caf\u00e9", "cafe\u0301"),
        ("1", "01"),
        ("1", "1.0"),
        ("1.50", "1.5"),
    ],
    ids=["case", "a space behind", "spaces", "accents", "zeros", "a point", "decimals"],
)
def test_names_that_look_alike(names):
    (note,) = alike(("dog", *names))
    assert f"(“{names[0]}”, “{names[1]}”)" in note
    assert "dog" not in note


def test_other_names_are_not_spoken_of():
    assert alike(("cat", "cats", "1", "10", "1a", "none of these", "naan", "1e5x", "inf", "infinity")) == ()


def test_what_tables_write_for_a_missing_label():
    (note,) = alike(("cat", "nan", "None"))
    assert note.startswith("“nan”, “None” is a class here; if it says that a label is missing")


def test_a_class_without_a_training_image_is_named():
    assert without_images(("a", "b"), np.array([0, 1])) == ()
    (note,) = without_images(("a", "b", "c"), np.array([1, 2]))
    assert note.startswith("no training image has the class “a”; if labels count from 1")


def test_notes_reach_the_report(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4), np.uint8)
    labels = np.arange(40) % 2 + 1
    np.savez(tmp_path / "a.npz", images=images, labels=labels, class_names=np.array(["x", "y", "Y"]))
    notes = load(Data(name=f"npz:{tmp_path / 'a.npz'}"), Protocol(), tmp_path).notes
    assert any("“y”, “Y”" in note for note in notes)
    assert any("no training image has the class “x”" in note for note in notes)
