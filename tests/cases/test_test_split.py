"""The test split is part of what a study fixes: an exchanged one is refused before anything trains."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import regulab.study
from regulab.cli import app
from regulab.config import Data, Protocol, Study, build_study, parse_yaml
from regulab.data import load
from regulab.data.dataset import Images
from regulab.data.sealing import sealed
from regulab.errors import UserError
from regulab.evaluation import recording
from regulab.progress import Silent
from regulab.run_directory.names import MARK
from regulab.run_directory.writing import RunDirectory, read_records

from .making_images import noise, save, with_splits


def study(seeds: int = 1) -> Study:
    """Of the folder ``images`` in the working directory."""
    return build_study(
        {
            "name": "fixed",
            "data": "folder:images",
            "train": {"epochs": 1, "batch_size": 4, "precision": "fp32", "engine": "plain"},
            "arms": {"none": {}},
            "seeds": seeds,
        }
    )


class Told(Silent):
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.epochs = 0

    def epoch(self, records) -> None:
        self.epochs += 1

    def message(self, text: str) -> None:
        self.messages.append(text)


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    monkeypatch.setattr(regulab.study, "write_report", lambda records, directory: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of images, and a run directory of one seed on it."""
    root = tmp_path_factory.mktemp("trained")
    with_splits(root / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(regulab.study, "write_report", lambda records, directory: None)
        regulab.study.run(study(), root / "run", data_root=root)
    return root


@pytest.fixture
def begun(trained, tmp_path, monkeypatch):
    """A copy of `trained`, which names its images by a relative path: the same study."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def extend(root: Path, told: Told | None = None) -> Told:
    told = told or Told()
    regulab.study.run(study(2), root / "run", data_root=root, progress=told)
    return told


def swap_a_cat_for_a_dog(test: Path) -> None:
    cat, dog = test / "cat" / "00.png", test / "dog" / "00.png"
    cat.rename(test / "aside")
    dog.rename(cat)
    (test / "aside").rename(dog)


CHANGES = {
    "moved": lambda test: (test / "cat" / "00.png").rename(test / "dog" / "moved.png"),
    "swapped": swap_a_cat_for_a_dog,
    "deleted": lambda test: (test / "cat" / "05.png").unlink(),
    "added": lambda test: save(test / "cat" / "more.png", noise()),
    "edited": lambda test: save(test / "cat" / "00.png", noise()),
    "renamed into another order": lambda test: (test / "cat" / "00.png").rename(test / "cat" / "99.png"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_test_split_is_refused_before_anything_trains(begun, change):
    CHANGES[change](begun / "images" / "test")
    before, told = files_of(begun / "run"), Told()
    with pytest.raises(
        UserError, match="changed since this study was begun: the test images or their labels"
    ):
        extend(begun, told)
    assert told.epochs == 0
    assert files_of(begun / "run") == before


def test_the_message_counts_and_the_exit_code_is_2(begun):
    for number in range(2):
        (begun / "images" / "test" / "cat" / f"{number:02}.png").unlink()
    file = begun / "study.yaml"
    file.write_text(study(2).to_yaml())
    answer = CliRunner().invoke(app, ["run", str(file), "--out", str(begun / "run")])
    assert answer.exit_code == 2
    assert "the test images or their labels (cat 6 then, 4 now)" in answer.stderr
    assert str(begun / "run") in answer.stderr
    assert "Traceback" not in answer.output


def test_the_message_says_between_which_classes_files_moved(begun):
    CHANGES["moved"](begun / "images" / "test")
    with pytest.raises(UserError, match=r"labels \(cat 6 then, 5 now; dog 6 then, 7 now\)"):
        extend(begun)
    CHANGES["edited"](begun / "images" / "test")
    (begun / "images" / "test" / "dog" / "moved.png").unlink()
    with pytest.raises(UserError, match=r"labels \(12 as before, as many in each class, but not the same\)"):
        extend(begun)


def test_an_unchanged_one_is_extended(begun):
    assert extend(begun).epochs == 1
    records = read_records(begun / "run")
    assert records.seeds == (0, 1)
    first, second = (records.predictions["none", seed].labels for seed in (0, 1))
    assert np.array_equal(first, second)


def test_what_a_study_fixes_is_recorded(begun):
    resolved = read_records(begun / "run").study["resolved"]
    splits = load(Data(name=f"folder:{begun / 'images'}"), Protocol(), begun)
    assert resolved["test_hash"] == splits.seal.content_hash == splits.open_test().content_hash()
    assert resolved["class_counts"] == {"train": [6, 7], "validation": [2, 1], "test": [6, 6]}
    environment = read_records(begun / "run").environment
    assert environment["test_hash"] == resolved["test_hash"]
    assert environment["test_images"] == 12


def test_training_images_and_names_of_classes_are_fixed_too(begun):
    (begun / "images" / "train" / "cat" / "07.png").unlink()
    with pytest.raises(UserError, match=r"the training images or their labels \(cat 8 then, 7 now\)"):
        extend(begun)


def test_a_class_of_another_name_is_another_study(begun):
    for part in ("train", "test"):
        (begun / "images" / part / "cat").rename(begun / "images" / part / "bat")
    with pytest.raises(UserError, match="the names of the classes or their order"):
        extend(begun)


def forget(root: Path, *keys: str) -> None:
    """Makes the run directory one of an older version, which recorded neither these nor checksums."""
    path = root / "run" / "study.yaml"
    recorded = build_study(parse_yaml(path.read_text(), ""))
    resolved = {key: value for key, value in recorded.resolved.items() if key not in keys}
    path.write_text(MARK + recorded.model_copy(update={"resolved": resolved}).to_yaml())
    (root / "run" / "checksums.json").unlink()


def test_an_older_run_directory_is_read_and_extended(begun):
    forget(begun, "test_hash", "class_counts")
    assert "test_hash" not in read_records(begun / "run").study["resolved"]
    assert extend(begun).epochs == 1
    splits = load(Data(name=f"folder:{begun / 'images'}"), Protocol(), begun)
    assert read_records(begun / "run").study["resolved"]["test_hash"] == splits.seal.content_hash


def test_an_older_run_directory_is_held_to_the_labels_it_recorded(begun):
    forget(begun, "test_hash", "class_counts")
    CHANGES["moved"](begun / "images" / "test")
    with pytest.raises(UserError, match="the test images or their labels"):
        extend(begun)


def test_an_older_run_directory_is_held_to_the_images_it_recorded(begun):
    forget(begun, "test_hash", "class_counts")
    mistakes = read_records(begun / "run").mistakes
    wrong = int(mistakes.indices[0])  # of 12 test images of noise, one network never gets all right
    name = ("cat", "dog")[wrong // 6]
    save(begun / "images" / "test" / name / f"{wrong % 6:02}.png", noise())
    with pytest.raises(UserError, match="the test images or their labels"):
        extend(begun)


def test_a_split_that_changes_while_the_study_trains_is_not_tested(begun):
    class Changing(Told):
        def epoch(self, records) -> None:
            super().epoch(records)
            CHANGES["swapped"](begun / "images" / "test")

    with pytest.raises(UserError, match="changed while the study trained") as caught:
        extend(begun, Changing())
    assert "give the same command again" in str(caught.value)
    assert read_records(begun / "run").seeds == (0,)
    CHANGES["swapped"](begun / "images" / "test")
    assert extend(begun).epochs == 0, "the last epoch's checkpoint is there"
    assert read_records(begun / "run").seeds == (0, 1)


def test_recording_never_mixes_two_test_splits(begun):
    """Whatever lets another test split through: predictions of two are not merged."""
    splits = load(Data(name=f"folder:{begun / 'images'}"), Protocol(), begun)
    test = splits.open_test()
    swapped = Images(test.pixels, 1 - test.labels)
    with (
        RunDirectory.open(begun / "run", study(), fresh=False) as store,
        pytest.raises(UserError, match=r"seed-0\.npz: these predictions are of another test split"),
    ):
        recording.record(store, None, [], swapped)


def test_labels_of_mnist(tmp_path):
    root = write_mnist(tmp_path)
    before = load(Data(name="mnist"), Protocol(), root)
    path = root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[8], content[9] = content[9], content[8]
    path.write_bytes(gzip.compress(bytes(content)))
    after = load(Data(name="mnist"), Protocol(), root)
    assert before.content_hash == after.content_hash
    assert before.seal.content_hash != after.seal.content_hash
    with pytest.raises(UserError, match="changed while the study trained"):
        before.open_test()


def write_mnist(root: Path, size: tuple[int, int] = (7, 5)) -> Path:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count, shape in (("train", 60, (7, 5)), ("t10k", 20, size)):
        images = np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)
        header = np.array([0x803, count, *shape], ">u4").tobytes()
        (raw / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
        labels = np.arange(count, dtype=np.uint8) % 10
        header = np.array([0x801, count], ">u4").tobytes()
        (raw / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + labels.tobytes()))
    return root


def damage_png(test: Path) -> None:
    path = test / "dog" / "03.png"
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (damage_png, r"03\.png: unreadable image"),
        (
            lambda test: save(test / "cat" / "big.png", noise(9, 8)),
            r"big\.png: images of different sizes; got '8 × 9",
        ),
        (lambda test: save(test / "cat" / "rgb.png", np.dstack([noise()] * 3)), r"rgb\.png: a colour image"),
        (
            lambda test: save(test / "cat" / "deep.png", noise().astype(np.uint16)),
            r"deep\.png: .*different depths",
        ),
    ],
)
def test_bad_test_files_are_found_before_training(tmp_path, monkeypatch, change, said):
    monkeypatch.chdir(tmp_path)
    images, told = with_splits(tmp_path / "images"), Told()
    change(images / "test")
    with pytest.raises(UserError, match=said):
        regulab.study.run(study(), tmp_path / "run", data_root=tmp_path, progress=told)
    assert told.epochs == 0
    assert not (tmp_path / "run").exists()


def test_test_images_of_another_size_in_idx_files(tmp_path):
    with pytest.raises(UserError, match=r"t10k-images.*test images differ in size"):
        load(Data(name="mnist"), Protocol(), write_mnist(tmp_path, (5, 7)))


def test_any_dataset_is_held_to_it(tmp_path):
    """A registered dataset need not check by itself."""
    splits = load(Data(name="digits"), Protocol(), tmp_path)
    test = splits.open_test()
    bare = replace(splits, seal=None)
    for wrong, said in (
        (Images(np.repeat(test.pixels, 3, 3), test.labels), "differ in size or channels .*; got '8 × 8 × 3'"),
        (Images(test.pixels, test.labels + 1), "out of range"),
        (test.take(np.arange(0)), "no test images"),
    ):
        with pytest.raises(UserError, match=said):
            sealed(replace(bare, open_test=partial(replace, wrong)))
