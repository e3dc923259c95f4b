"""``regulab show augmentation``: the operations in words, and on a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from regulab.cli import app
from regulab.data.augmentation import AugmentSettings, all_operations


def invoke(*arguments: str):
    return CliRunner().invoke(app, ["show", "augmentation", *arguments])


@pytest.fixture(autouse=True)
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save("photo.png")
    Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save("digit.png")


def test_all_operations_with_ranges_and_sources():
    done = invoke()
    assert done.exit_code == 0
    for kind in all_operations().values():
        assert f"[{kind.source}]" in done.stdout
    lines = done.stdout.splitlines()
    for key in AugmentSettings.model_fields:
        assert any(line.split()[:1] == [key] for line in lines if line.startswith("  ")), key
    assert any("number ≥ 0, ≤ 0.5 or [2 numbers ≥ -0.5, ≤ 0.5]" in line for line in lines)


@pytest.mark.parametrize("name", ["affine", "rotate", "crop", "rand_augment"])
def test_all_about_one_by_its_name_or_its_key(name):
    done = invoke(name)
    assert done.exit_code == 0
    assert "Source: " in done.stdout
    assert "In a study file:" in done.stdout


def test_a_sheet_of_all_operations():
    done = invoke("--image", "photo.png")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "augmentation.png"
    with Image.open("augmentation.png") as sheet:
        rows = sum(len(kind.samples(30)) for kind in all_operations().values())
        factor = 112 // 40
        assert sheet.height == pytest.approx(2 * 14 + rows * (30 * factor + 6) - 6, abs=2)


def test_a_row_has_the_picture_and_its_changes():
    done = invoke("data.augment.invert=1", "--image", "digit.png", "--out", "sheet.png")
    assert done.exit_code == 0, done.stderr
    with Image.open("sheet.png") as sheet, Image.open("digit.png") as picture:
        levels, original = np.asarray(sheet.convert("L")).astype(int), np.asarray(picture).astype(int)
    tile = 28 * 4
    left = levels[14 : 14 + tile : 4, 330 : 330 + tile : 4]
    start = 330 + tile + 18
    changed = levels[14 : 14 + tile : 4, start : start + tile : 4]
    assert abs(left - original).max() <= 1
    assert abs(changed - (255 - original)).max() <= 1
    first = Path("sheet.png").read_bytes()
    assert (
        invoke("data.augment.invert=1", "--image", "digit.png", "--out", "sheet.png", "--force").exit_code
        == 0
    )
    assert Path("sheet.png").read_bytes() == first


def test_a_sheet_of_named_operations():
    done = invoke("cutout", "rotate", "--image", "digit.png")
    assert done.exit_code == 0, done.stderr
    rows = sum(len(all_operations()[name].samples(28)) for name in ("cutout", "affine"))
    with Image.open("augmentation.png") as sheet:
        assert sheet.height == pytest.approx(2 * 14 + rows * (112 + 6) - 6, abs=2)


def test_the_settings_of_a_study_and_its_arms():
    Path("s.yaml").write_text(
        "data: {augment: {rotate: 7}}\narms: {none: {}, a: {augmentation: {crop: 4}}, b: {augmentation: {crop: 4}}}\n"
    )
    done = invoke("s.yaml", "--image", "digit.png")
    assert done.exit_code == 0, done.stderr
    with Image.open("augmentation.png") as sheet:
        assert sheet.height == pytest.approx(2 * 14 + 2 * 112 + 6, abs=2)


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("nope",), "no such name"),
    (("rotatee",), "did you mean rotate?"),
    (("data.augment.rotate=7",), "expected --image FILE beside them"),
    (("--image", "nowhere.png"), "nowhere.png: no such file"),
    (("--image", "photo.png", "--out", "photo.jpg"), "--out: no name of a PNG"),
    (("--image", "photo.png", "--out", "photo.png"), "the file is there already"),
    (("--image", "photo.png", "--out", "photo.png/a.png"), "photo.png"),
    (
        ("data.augment.hue=0.1", "--image", "digit.png"),
        "override data.augment.hue: has no effect on grey images",
    ),
    (("data.augment.crop=28", "--image", "digit.png"), "padding as large as the images"),
    (("data.augment.rotat=7", "--image", "digit.png"), "did you mean rotate?"),
    (("hue", "--image", "digit.png"), "data.augment.hue: has no effect on grey images"),
    (("nope", "--image", "digit.png"), "no such study"),
    (("l1-l2", "--image", "digit.png"), "the study l1-l2 augments nothing"),
    (("--out", "a.png"), "--out"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=[" ".join(a) for a, _ in REFUSED])
def test_what_is_wrong_is_refused_in_words(arguments, words):
    done = invoke(*arguments)
    assert done.exit_code == 2, done.stdout
    assert words in done.stderr


def test_other_kinds_draw_nothing_and_take_one_name():
    for arguments, words in (
        (("techniques", "--image", "photo.png"), "draws nothing here; got '--image'"),
        (("techniques", "l1", "l2"), "one name at a time"),
    ):
        done = CliRunner().invoke(app, ["show", *arguments])
        assert done.exit_code == 2
        assert words in done.stderr
