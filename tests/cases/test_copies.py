"""Identical images in two parts of a dataset, or under two classes, are counted by content and told of."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

import regulab.study
from regulab.cli import app
from regulab.config import Data, Protocol, build_study
from regulab.data import load
from regulab.data.copies import copies, digests
from regulab.data.dataset import Images
from regulab.data.loading import NOTE
from regulab.progress import Silent
from regulab.reporting.observations import notes
from regulab.run_directory.writing import read_records
from regulab.statistics import compare
from regulab.terminal.comparison_table import print_training_notes

from .making_images import with_splits


def notes_of(folder: Path, **protocol: Any) -> tuple[str, ...]:
    return load(Data(name=f"folder:{folder}"), Protocol(**protocol), folder).notes


def copy(folder: Path, source: str, target: str) -> None:
    shutil.copy(folder / source, folder / target)


def test_none_where_there_are_none(tmp_path):
    assert notes_of(with_splits(tmp_path, val=3)) == ()
    assert load(Data(name="digits"), Protocol(), tmp_path).notes == ()


def test_each_pair_of_parts_is_counted(tmp_path):
    with_splits(tmp_path, val=3)
    for number in range(3):
        copy(tmp_path, f"train/cat/{number:02}.png", f"test/cat/{number:02}.png")
    copy(tmp_path, "train/dog/00.png", "val/dog/00.png")
    for number in (1, 2):
        copy(tmp_path, "val/cat/01.png", f"test/dog/{number:02}.png")
    assert notes_of(tmp_path) == (
        "data: 3 of 12 test images are in the training part too, pixel for pixel",
        "data: 1 of 6 validation images is in the training part too, pixel for pixel",
        "data: 2 of 12 test images are in the validation part too, pixel for pixel",
        "data: 1 picture stands under more than one class, 3 images in all, pixel for pixel",
    )


def test_content_counts_not_files(tmp_path):
    """Another name, another format: the same pixels."""
    with_splits(tmp_path, val=3)
    with Image.open(tmp_path / "train" / "cat" / "03.png") as image:
        image.save(tmp_path / "test" / "cat" / "05.bmp")
    assert notes_of(tmp_path) == (
        "data: 1 of 14 test images is in the training part too, pixel for pixel".replace("14", "13"),
    )


def test_under_course_the_test_split_is_the_validation_part(tmp_path):
    with_splits(tmp_path)
    copy(tmp_path, "train/cat/00.png", "test/cat/00.png")
    assert notes_of(tmp_path, kind="course") == (
        "data: 1 of 12 test images is in the training part too, pixel for pixel",
    )


def test_only_images_that_train_are_the_training_part(tmp_path):
    with_splits(tmp_path, val=3)
    copy(tmp_path, "train/cat/00.png", "test/cat/00.png")
    counts = [
        len(load(Data(name=f"folder:{tmp_path}", train_images=n), Protocol(), tmp_path).notes)
        for n in range(2, 15)
    ]
    assert set(counts) == {0, 1}, "as soon as the copied image trains"
    assert counts == sorted(counts)


def test_two_classes_within_one_part(tmp_path):
    with_splits(tmp_path, val=3)
    copy(tmp_path, "train/cat/00.png", "train/dog/00.png")
    copy(tmp_path, "train/cat/01.png", "train/dog/01.png")
    assert notes_of(tmp_path) == (
        "data: 2 pictures stand under more than one class, 4 images in all, pixel for pixel",
    )


def test_digests_tell_pixels_apart():
    pixels = np.zeros((4, 3, 3, 1), np.uint8)
    pixels[1, 0, 0], pixels[2, 2, 2] = 1, 1
    first = digests(pixels)
    assert len(set(first)) == 3
    assert first[0] == first[3]
    assert digests(np.asfortranarray(pixels)) == first


def test_counts_against_a_plain_comparison():
    random = np.random.default_rng(1)
    train, validation, test = (
        Images(random.integers(0, 2, (n, 2, 2, 1), dtype=np.uint8), random.integers(0, 2, n))
        for n in (9, 6, 7)
    )

    def shared(one: Images, other: Images) -> int:
        return sum(any(np.array_equal(x, y) for y in other.pixels) for x in one.pixels)

    found = copies(train, validation, test.labels, digests(test.pixels))
    pairs = ((test, train), (validation, train), (test, validation))
    expected = [f"{shared(one, other)} of {len(one)}" for one, other in pairs]
    assert not any(text.startswith("0 ") for text in expected)
    assert [" ".join(note.split()[:3]) for note in found[:3]] == expected


def test_they_are_told_of_everywhere(tmp_path, monkeypatch):
    """In the progress, the dry run, the environment, the report."""
    images = with_splits(tmp_path / "images", val=3)
    copy(images, "train/cat/00.png", "test/cat/00.png")
    (images / "train" / "cat" / "notes.txt").write_text("")
    said = f"{NOTE}1 of 12 test images is in the training part too, pixel for pixel"
    left = (
        "data: 1 entry left out (hidden, not in a class folder, or no image by the name): train/cat/notes.txt"
    )
    content = {
        "data": f"folder:{images}",
        "train": {"epochs": 1, "batch_size": 4, "precision": "fp32", "engine": "plain"},
        "arms": {"none": {}},
        "seeds": 1,
    }
    study = build_study(content)

    class Told(Silent):
        messages: ClassVar[list[str]] = []

        def message(self, text: str) -> None:
            self.messages.append(text)

    monkeypatch.setattr(regulab.study, "write_report", lambda records, directory: None)
    regulab.study.run(study, tmp_path / "run", data_root=tmp_path, progress=Told())
    assert {said, left} <= set(Told.messages)
    records = read_records(tmp_path / "run")
    assert {said, left} <= set(records.environment["notes"])
    assert f"D{said[1:]}." in notes(records, compare(records))
    console = Console(record=True, width=200)
    print_training_notes(records.environment, console)
    assert said in console.export_text().splitlines()
    file = tmp_path / "study.yaml"
    file.write_text(study.to_yaml())
    answer = CliRunner().invoke(app, ["run", str(file), "--dry-run"])
    assert answer.exit_code == 0
    assert said in " ".join((answer.stdout + answer.stderr).split())
    assert left in " ".join((answer.stdout + answer.stderr).split())


def test_mnist_in_a_moment():
    """60,000 images of 784 bytes."""
    pixels = np.random.default_rng(0).integers(0, 256, (60_000, 28, 28, 1), dtype=np.uint8)
    start = time.process_time()
    assert len(digests(pixels)) == 60_000
    assert time.process_time() - start < 1


def test_real_mnist_has_no_copies_between_parts():
    import os

    root = Path(os.environ.get("REGULAB_DATA", "absent"))
    if not (root / "MNIST").is_dir():
        pytest.skip("MNIST is absent: REGULAB_DATA does not name a folder that holds MNIST/raw")
    assert load(Data(name="mnist"), Protocol(validation=10000), root).notes == ()
