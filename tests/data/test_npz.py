"""Images as arrays in a file: ``npz:PATH``."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regulab.data import find_dataset
from regulab.data.dataset import DatasetContent
from regulab.errors import UserError

N = 20


def pixels(count: int = N, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *(shape or (6, 5))), np.uint8)


def labels(count: int = N) -> np.ndarray:
    return np.arange(count) % 2


def load(path: Path) -> DatasetContent:
    return find_dataset(f"npz:{path}").load(path.parent)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "set.npz", **arrays)
    return folder / "set.npz"


def test_medmnist_keys_with_a_validation_part_and_labels_in_a_column(tmp_path):
    parts = {name: pixels(N, seed=number) for number, name in enumerate(("train", "val", "test"))}
    arrays = {f"{name}_images": part for name, part in parts.items()}
    arrays |= {f"{name}_labels": labels()[:, None].astype(np.uint8) for name in parts}
    content = load(saved(tmp_path, **arrays))
    assert content.class_names == ("0", "1")
    np.testing.assert_array_equal(
        content.train.pixels[..., 0], np.concatenate((parts["train"], parts["val"]))
    )
    np.testing.assert_array_equal(content.validation_indices, np.arange(N, 2 * N))
    np.testing.assert_array_equal(content.train.labels, np.tile(labels(), 2))
    np.testing.assert_array_equal(content.open_test().pixels[..., 0], parts["test"])
    assert content.notes == ()


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "y_train", "X_test", "y_test"),
        ("train_x", "train_y", "test_x", "test_y"),
        ("xtrain", "ytrain", "xtest", "ytest"),
        ("training_images", "training_labels", "testing_images", "testing_labels"),
        ("Train_Data", "Train_Targets", "Test_Data", "Test_Targets"),
    ],
    ids=lambda keys: keys[0],
)
def test_other_names_of_the_same(keys, tmp_path):
    train, test = pixels(seed=1), pixels(seed=2)
    content = load(saved(tmp_path, **dict(zip(keys, (train, labels(), test, labels()), strict=True))))
    assert content.validation_indices is None
    np.testing.assert_array_equal(content.train.pixels[..., 0], train)
    np.testing.assert_array_equal(content.open_test().pixels[..., 0], test)


def test_images_of_no_split_are_cut_as_a_folder_is(tmp_path):
    images = pixels(40)
    content = load(saved(tmp_path, images=images, labels=labels(40)))
    test = content.open_test()
    assert (len(content.train), np.size(content.validation_indices), len(test)) == (32, 8, 8)
    assert np.bincount(test.labels).tolist() == [4, 4]
    found = {image.tobytes() for part in (content.train, test) for image in part.pixels}
    assert found == {image.tobytes() for image in images}
    order = [int(np.flatnonzero((images == image[..., 0]).all((1, 2)))[0]) for image in content.train.pixels]
    assert order == sorted(order)


def test_without_a_test_part_a_fifth_of_what_trains_tests(tmp_path):
    images, val = pixels(seed=4), pixels(seed=3)
    content = load(saved(tmp_path, x_train=images, y_train=labels(), x_val=val, y_val=labels()))
    assert content.validation_indices is not None
    np.testing.assert_array_equal(content.train.pixels[content.validation_indices][..., 0], val)
    test = content.open_test()
    assert np.bincount(test.labels).tolist() == [2, 2]
    trains = np.delete(content.train.pixels, content.validation_indices, axis=0)
    found = sorted(image.tobytes() for image in np.concatenate((trains, test.pixels)))
    assert found == sorted(image.tobytes() for image in images)
    assert "a fixed fifth of the training images" in content.notes[0]


def test_a_training_part_alone_is_cut_and_it_is_said(tmp_path):
    alone = load(saved(tmp_path, x_train=pixels(), y_train=labels()))
    plain = load(saved(tmp_path, images=pixels(), labels=labels()))
    assert alone.content_hash == plain.content_hash
    assert "a fixed fifth of the training images" in alone.notes[0]
    assert plain.notes == ()


@pytest.mark.parametrize(
    ("shape", "moved"),
    [((6, 5), (6, 5, 1)), ((6, 5, 3), (6, 5, 3)), ((3, 6, 5), (6, 5, 3)), ((1, 6, 5), (6, 5, 1))],
    ids=["HW", "HWC", "CHW", "1HW"],
)
def test_channels_stand_last_wherever_they_stood(shape, moved, tmp_path):
    images = pixels(N, *shape)
    content = load(saved(tmp_path, x_train=images, y_train=labels(), x_test=images, y_test=labels()))
    assert content.train.pixels.shape[1:] == moved
    if shape == (3, 6, 5):
        np.testing.assert_array_equal(content.train.pixels[4, 2, 3], images[4, :, 2, 3])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint16", "bool"])
def test_levels_of_another_type_become_the_bytes_that_they_were(dtype, tmp_path):
    stored = pixels()
    given = stored / 255 if dtype.startswith("float") else stored > 127 if dtype == "bool" else stored
    arrays = {"x_train": given.astype(dtype), "y_train": labels(), "x_test": stored, "y_test": labels()}
    train = load(saved(tmp_path, **arrays)).train
    expected = np.where(stored > 127, 255, 0) if dtype == "bool" else stored
    np.testing.assert_array_equal(train.pixels[..., 0], expected)
    assert len(train.notes) == (dtype.startswith("float") or dtype == "bool")


def test_floats_between_two_levels_are_rounded_and_it_is_said(tmp_path):
    given = np.full((N, 4, 4), 0.3, np.float32)  # 76.5 of 255
    given[:, 0, 0] = 0.5
    train = load(saved(tmp_path, x_train=given, y_train=labels(), x_test=given, y_test=labels())).train
    assert set(train.pixels.ravel().tolist()) == {76, 128} or set(train.pixels.ravel().tolist()) == {77, 128}
    assert "rounded to the nearest, at most 0.5 of a level away" in train.notes[0]


def test_texts_name_classes_and_numbers_are_ordered_as_numbers(tmp_path):
    words = np.array(["wolf", "dog"] * (N // 2))
    arrays = {"x_train": pixels(), "y_train": words, "x_test": pixels(2), "y_test": np.array(["dog", "dog"])}
    content = load(saved(tmp_path, **arrays))
    assert content.class_names == ("dog", "wolf")
    assert content.train.labels[:4].tolist() == [1, 0, 1, 0]
    assert content.open_test().labels.tolist() == [0, 0]
    numbers = np.array([2, 10] * (N // 2), np.float64)
    assert load(saved(tmp_path, images=pixels(), labels=numbers)).class_names == ("2", "10")


def test_an_array_of_class_names_says_what_the_numbers_mean(tmp_path):
    arrays = {"images": pixels(), "labels": labels(), "class_names": np.array(["cat", "ant"])}
    content = load(saved(tmp_path, **arrays))
    assert content.class_names == ("cat", "ant")
    assert content.train.labels[:2].tolist() == [0, 1]


def test_arrays_that_are_neither_are_named(tmp_path):
    content = load(saved(tmp_path, images=pixels(), labels=labels(), patients=np.arange(N)))
    assert content.notes == (
        "arrays that by their names are neither images nor labels were left out: patients",
    )


BAD = {
    "objects": (
        {"images": pixels(), "labels": np.array([object()] * N)},
        "holds Python objects, which are never read",
    ),
    "flat": ({"images": pixels().reshape(N, 30), "labels": labels()}, "whose height and width nobody says"),
    "flat squares": ({"images": pixels(N, 36), "labels": labels()}, r"x\.reshape\(-1, 6, 6\)"),
    "ambiguous": ({"images": pixels(N, 3, 6, 3), "labels": labels()}, "the channels may stand first or last"),
    "two channels": ({"images": pixels(N, 2, 6, 5), "labels": labels()}, "neither one channel nor three"),
    "transparency": ({"images": pixels(N, 6, 5, 4), "labels": labels()}, "one may be transparency"),
    "five dimensions": ({"images": pixels(N, 3, 6, 5, 2), "labels": labels()}, "no images"),
    "empty": ({"images": pixels(0), "labels": labels(0)}, "no pixels"),
    "0 to 255 as floats": (
        {"images": pixels().astype(np.float32), "labels": labels()},
        r"floats outside 0 to 1; got 'levels from .* divide them",
    ),
    "normalized": (
        {"images": (pixels() / 127 - 1).astype(np.float32), "labels": labels()},
        "leave out a normalization",
    ),
    "NaN": (
        {
            "images": np.where(np.arange(N)[:, None, None] == 7, np.nan, 0.5) + np.zeros((N, 6, 5)),
            "labels": labels(),
        },
        "not finite; got 'NaN or infinity in image 7'",
    ),
    "16 bits": (
        {"images": pixels().astype(np.uint16) * 257, "labels": labels()},
        "whole numbers that are no bytes",
    ),
    "complex": ({"images": pixels().astype(np.complex64), "labels": labels()}, "images that are no numbers"),
    "several labels": (
        {"images": pixels(), "labels": np.ones((N, 3), int)},
        "every image has one class here",
    ),
    "one-hot": ({"images": pixels(), "labels": np.eye(2)[labels()]}, r"labels\.argmax\(1\)"),
    "labels missing": ({"images": pixels(), "labels": labels(N - 1)}, "19 labels'; expected 20"),
    "half a class": ({"images": pixels(), "labels": labels() + 0.5}, "numbers that name no class; got 0.5"),
    "NaN label": (
        {"images": pixels(), "labels": np.where(labels() == 1, np.nan, 0)},
        "images without a label; got '10",
    ),
    "blank label": ({"images": pixels(), "labels": np.array(["a", " "] * 10)}, "images without a label"),
    "one class": ({"images": pixels(), "labels": np.zeros(N, int)}, "fewer than two classes"),
    "control characters": (
        {"images": pixels(), "labels": np.array(["a\x1b", "b"] * 10)},
        "control characters",
    ),
    "no labels": ({"images": pixels()}, "images without labels"),
    "test without labels": (
        {"x_train": pixels(), "y_train": labels(), "x_test": pixels()},
        r"x_test without labels \(accuracy is counted on them\)",
    ),
    "no images": ({"labels": labels()}, "labels without images"),
    "nothing": ({"a": labels()}, "nothing to train on; got 'a'"),
    "only a test part": ({"x_test": pixels(), "y_test": labels()}, "nothing to train on"),
    "a split and none": (
        {"images": pixels(), "labels": labels(), "x_test": pixels(), "y_test": labels()},
        "arrays of a split and arrays of none",
    ),
    "two of one": (
        {"x_train": pixels(), "train_images": pixels(), "y_train": labels()},
        "two arrays of images",
    ),
    "too few": ({"images": pixels(2), "labels": labels(2)}, "too few images to cut"),
    "names for fewer": (
        {"images": pixels(), "labels": labels() + 1, "class_names": np.array(["a", "b"])},
        "labels that are not numbers of classes; got 'int64 from 1 to 2'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_set_of_images_is_refused(name, tmp_path):
    arrays, message = BAD[name]
    with pytest.raises(UserError, match=message):
        load(saved(tmp_path, **arrays))


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"x_test": pixels(4, 7, 5), "y_test": labels(4)}, "another size"),
        ({"x_test": pixels(4, 6, 5, 3), "y_test": labels(4)}, "another size or other channels"),
        ({"x_test": pixels(4), "y_test": labels(4) + 1}, "labels that no training image has; got '2'"),
        ({"x_test": pixels(4).astype(float), "y_test": labels(4)}, "floats outside 0 to 1"),
        ({"x_test": pixels(4) // 128, "y_test": labels(4)}, "another scale .* 'levels up to 1'.*up to 255"),
    ],
    ids=["size", "channels", "class", "levels", "scale"],
)
def test_a_test_part_of_another_kind_is_refused_when_it_is_opened(test, message, tmp_path):
    content = load(saved(tmp_path, x_train=pixels(), y_train=labels(), **test))
    with pytest.raises(UserError, match=message):
        content.open_test()


def test_a_dark_set_is_said_to_look_black(tmp_path):
    content = load(saved(tmp_path, images=pixels() // 16, labels=labels()))
    assert content.train.notes == ("no level of the images is above 15 of 255: they look black in pictures",)
    assert content.train.pixels.max() == 15


class Bomb:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


def test_nothing_is_ever_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("set.npz", images=pixels(), labels=np.array([Bomb()] * N))
    Path("plain.npz").write_bytes(pickle.dumps(Bomb()))
    for name in ("set.npz", "plain.npz"):
        with pytest.raises(UserError):
            load(tmp_path / name)
    assert not Path("exploded").exists()


def test_a_header_that_declares_terabytes_is_refused_before_anything_is_read(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**7, 1000, 1000)}
    )
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())
    with pytest.raises(UserError, match=r"images takes more memory .*10,000,000,000,000 bytes"):
        load(tmp_path / "set.npz")


def test_a_damaged_file_is_named(tmp_path):
    path = saved(tmp_path, images=pixels(), labels=labels())
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[:200], whole[:300] + b"\0" * 20 + whole[320:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"set\.npz.*damaged"):
            load(path)


def test_places_that_are_no_such_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "none.npz")
    with pytest.raises(UserError, match="a folder, no file of arrays"):
        load(tmp_path)
    np.save(tmp_path / "one.npy", pixels())
    with pytest.raises(UserError, match="a single array"):
        load(tmp_path / "one.npy")
