"""Folders of every usual name are the parts they are called, and what cannot be one is told."""

import numpy as np
import pytest
from PIL import Image

from regulab.config import Data, Protocol
from regulab.data import find_dataset, load
from regulab.errors import UserError

RANDOM = np.random.default_rng(2)


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RANDOM.integers(0, 256, (4, 5), dtype=np.uint8)).save(path)


def fill(folder, count=4, classes=("cat", "dog")):
    for name in classes:
        for number in range(count):
            image(folder / name / f"{number}.png")


def splits(path):
    return load(Data(name=f"folder:{path}"), Protocol(), path)


def refusal(path) -> str:
    with pytest.raises(UserError) as caught:
        find_dataset(f"folder:{path}").load(path).open_test()
    return str(caught.value)


@pytest.mark.parametrize("train", ["train", "training", "Train", "TRAIN", "trn"])
@pytest.mark.parametrize("val", ["val", "valid", "validation", "Dev"])
@pytest.mark.parametrize("test", ["test", "testing", "tst", "Eval", "TEST"])
def test_every_usual_name(tmp_path, train, val, test):
    fill(tmp_path / train, 4)
    fill(tmp_path / val, 3)
    fill(tmp_path / test, 2)
    found = splits(tmp_path)
    assert [len(found.train), len(found.validation), len(found.open_test())] == [8, 6, 4]
    assert found.open_test().files[0] == f"{test}/cat/0.png"
    renamed = [
        f"{name} as {part}" for name, part in ((test, "test"), (train, "train"), (val, "val")) if name != part
    ]
    said = [note for note in found.notes if "by their names" in note]
    assert len(said) == bool(renamed)
    assert all(one in said[0] for one in renamed)


def test_without_a_test_folder_a_fifth_of_train_tests_and_val_validates(tmp_path):
    fill(tmp_path / "train", 10)
    fill(tmp_path / "val", 3)
    found = splits(tmp_path)
    test = found.open_test()
    assert [len(found.train), len(found.validation), len(test)] == [16, 6, 4]
    assert np.bincount(test.labels).tolist() == [2, 2]
    assert all(name.startswith("val/") for name in found.validation.files)
    assert not set(test.files) & set(found.train.files)
    assert all(name.startswith("train/") for name in test.files)
    note = "data: no folder test: a fixed fifth of train, stratified by class, tests and does not train; to test on"
    assert any(one.startswith(note) for one in found.notes)
    again = splits(tmp_path)
    assert (again.index_hash, again.open_test().content_hash()) == (found.index_hash, test.content_hash())


def test_a_training_folder_alone_is_cut_in_three(tmp_path):
    fill(tmp_path / "Training", 10)
    found = splits(tmp_path)
    assert [len(found.train), len(found.validation), len(found.open_test())] == [12, 4, 4]
    assert any("no folder test: a fixed fifth of Training" in note for note in found.notes)


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_part_without_classes_is_refused_with_the_reason(tmp_path, part):
    fill(tmp_path / "train")
    fill(tmp_path / ("val" if part == "test" else "test"))
    for number in range(3):
        image(tmp_path / part / f"{number}.png")
    said = refusal(tmp_path)
    assert f"the {part} images have no classes, so nothing could be measured on them" in said
    assert f"move {part} away" in said


def test_two_folders_for_one_part(tmp_path):
    for name in ("train", "Train", "test"):
        fill(tmp_path / name)
    assert "two folders for the train part; got 'Train, train'" in refusal(tmp_path)
    fill(tmp_path / "other" / "train")
    fill(tmp_path / "other" / "valid")
    fill(tmp_path / "other" / "dev")
    assert "two folders for the val part; got 'dev, valid'" in refusal(tmp_path / "other")


def test_no_training_part(tmp_path):
    fill(tmp_path / "val")
    fill(tmp_path / "test")
    assert "no training part; got 'test, val'" in refusal(tmp_path)


def test_a_class_that_the_test_part_lacks_is_named(tmp_path):
    fill(tmp_path / "train", classes=("cat", "dog", "emu"))
    fill(tmp_path / "test", classes=("cat", "emu", "yak"))
    said = refusal(tmp_path)
    assert "it lacks dog" in said
    assert "it alone has yak" in said


@pytest.mark.parametrize("inner", ["archive", "archive/photos"])
def test_parts_in_a_folder_of_an_archive(tmp_path, inner):
    fill(tmp_path / inner / "train")
    fill(tmp_path / inner / "test")
    (tmp_path / "README.txt").write_text("of the archive")
    found = splits(tmp_path)
    assert len(found.train) + len(found.validation) == 8
    assert f"data: the images were found in {inner}/" in found.notes
    assert found.open_test().files[0] == f"{inner}/test/cat/0.png"


def test_classes_in_a_folder_of_an_archive(tmp_path):
    fill(tmp_path / "photos", 10)
    assert splits(tmp_path).class_names == ("cat", "dog")


def test_a_class_may_be_called_like_a_part_where_nothing_trains(tmp_path):
    fill(tmp_path, 8, classes=("pass", "test"))
    assert splits(tmp_path).class_names == ("pass", "test")
