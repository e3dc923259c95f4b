"""What augmentation asks of the images is refused once they are loaded, before anything trains, with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.errors import UserError
from regulab.training.augmentation_checks import check_augmentation
from regulab.training.notes import notes
from tests.training.setups import setup_of, study_of

REFUSED: list[tuple[dict[str, Any], str]] = [  # of the digits, 8 × 8 and grey
    ({"hue": 0.1}, "data.augment.hue: has no effect on grey images; expected images in colour; leave it out"),
    ({"saturation": [0.5, 2]}, "data.augment.saturation: has no effect on grey images"),
    ({"grayscale": 0.1}, "data.augment.grayscale: has no effect on grey images"),
    (
        {"crop": 8},
        "data.augment.crop.padding: a padding as large as the images, which are 8 × 8; got 8",
    ),
    (
        {"cutout": 16},
        "data.augment.cutout.size: covers the images, which are 8 × 8, wherever it lies; got 16",
    ),
    (
        {"blur": [0.1, 4]},
        "data.augment.blur: a blur as wide as the images, which are 8 × 8; got 4.0; expected under 4",
    ),
    ({"rotate": 3, "fill": [1, 2, 3]}, "data.augment.fill: a colour for grey images; got [1.0, 2.0, 3.0]"),
    ({"crop": {"padding": 2, "fill": [1, 2, 3]}}, "data.augment.crop.fill: a colour for grey images"),
    ({"erase": {"value": [1, 2, 3]}}, "data.augment.erase.value: a colour for grey images"),
    ({"cutout": {"size": 2, "fill": [1, 2, 3]}}, "data.augment.cutout.fill: a colour for grey images"),
    ({"rand_augment": True, "fill": [1, 2, 3]}, "data.augment.fill: a colour for grey images"),
    ({"rand_augment": {"fill": [1, 2, 3]}}, "data.augment.rand_augment.fill: a colour for grey images"),
    ({"crop": 2, "fill": [1, 2, 3]}, "data.augment.fill: a colour for grey images"),
]


IDS = [f"{place} {words.partition(':')[0]}" for place, (_, words) in enumerate(REFUSED)]


@pytest.mark.parametrize(
    ("augment", "words"),
    REFUSED,
    ids=IDS,
)
def test_what_does_not_go_with_the_images(augment, words):
    setup = setup_of(study_of({"none": {}}, data={"name": "digits", "augment": augment}))
    with pytest.raises(UserError) as refused:
        check_augmentation(setup)
    assert words in str(refused.value)


def test_an_arms_own_is_named_as_such():
    setup = setup_of(study_of({"none": {}, "own": {"augmentation": {"hue": 0.1}}}))
    with pytest.raises(UserError, match=r"arms.own.augmentation.hue: has no effect on grey images"):
        check_augmentation(setup)


def test_what_goes_with_them_is_taken():
    augment = {"crop": 7, "cutout": 15, "blur": 3.9, "fill": 200, "trivial_augment": True}
    check_augmentation(
        setup_of(study_of({"none": {}, "own": {"augmentation": 5}}, data={"augment": augment}))
    )


def test_the_command_names_file_and_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(
        "name: s\ndata:\n  name: digits\n  augment:\n    rotate: 3\n    hue: 0.1\narms: {none: {}}\n"
    )
    done = CliRunner().invoke(app, ["run", "s.yaml"])
    assert done.exit_code == 2
    assert "s.yaml, line 6: data.augment.hue: has no effect on grey images" in done.stderr
    assert not (tmp_path / "runs" / "s").exists()


def test_a_note_says_what_trivial_augment_does_to_small_images():
    setup = setup_of(study_of({"none": {}, "own": {"augmentation": {"trivial_augment": True}}}))
    (note,) = (note for note in notes(setup) if "TrivialAugment" in note)
    assert "shifts by up to 32 pixels" in note
    assert "8 × 8" in note
    assert not any("TrivialAugment" in note for note in notes(setup_of(study_of({"none": {}}))))
