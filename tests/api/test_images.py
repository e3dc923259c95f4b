"""``Study(data=…)``: arrays, tensors and datasets from Python."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import regulab as rl
from regulab.data import find_dataset, given
from regulab.data.dataset import DatasetContent, Images

N = 20
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 6, 5), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (N, 6, 5, 3), np.uint8)
TEST = np.random.default_rng(2).integers(0, 256, (4, 6, 5), np.uint8)
LABELS = np.arange(N) % 2
PAIR = (PIXELS, LABELS)


def load(data: Any) -> DatasetContent:
    return find_dataset(rl.Study(data=data).data).load(None)


def whole(content: DatasetContent) -> Images:
    """All images of a content in one."""
    test = content.open_test()
    return Images(
        np.concatenate((content.train.pixels, test.pixels)),
        np.concatenate((content.train.labels, test.labels)),
    )


def refused(data: Any) -> str:
    with pytest.raises(rl.UserError) as caught:
        rl.Study(data=data)
    return str(caught.value)


class Shapes(Dataset):
    """Whatever images and labels it is given."""

    def __init__(self, images: Any, labels: Any) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.images[index], self.labels[index]


class Rows:
    """As a dataset of Hugging Face's: mappings, a shape of its own, names of classes."""

    shape = (N, 2)

    def __init__(self) -> None:
        self.features = {"label": type("ClassLabel", (), {"names": ["cat", "dog"]})()}

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": Image.fromarray(PIXELS[index]), "label": int(LABELS[index])}


SAME: dict[str, Any] = {
    "bytes": PAIR,
    "lists": ([*PIXELS], LABELS.tolist()),
    "a list of two": [PIXELS, LABELS],
    "a column": (PIXELS[..., None], LABELS[:, None]),
    "channels first": (PIXELS[:, None], LABELS),
    "floats": (PIXELS / 255, LABELS),
    "tensors": (torch.from_numpy(PIXELS)[:, None] / 255, torch.from_numpy(LABELS)),
    "a tensor with a gradient": (torch.tensor(PIXELS / 255, requires_grad=True), LABELS),
    "a series": (PIXELS, pd.Series(LABELS)),
    "of tensors": TensorDataset(torch.from_numpy(PIXELS)[:, None], torch.from_numpy(LABELS)),
    "of pictures": Shapes([Image.fromarray(image) for image in PIXELS], LABELS.tolist()),
    "of arrays with labels in a row": Shapes(PIXELS, LABELS[:, None]),
    "a list of pairs": list(zip(PIXELS, LABELS.tolist(), strict=True)),
    "pictures": ([Image.fromarray(image) for image in PIXELS], LABELS),
    "a part": {"train": PAIR},
}


@pytest.mark.parametrize("name", SAME)
def test_many_ways_to_give_the_same_images(name):
    plain, given_so = load(PAIR), load(SAME[name])
    assert given_so.class_names == ("0", "1")
    assert given_so.content_hash == plain.content_hash
    assert given_so.open_test().content_hash() == plain.open_test().content_hash()
    assert rl.Study(data=SAME[name]).identity() == rl.Study(data=PAIR).identity()


SPLIT: dict[str, Any] = {
    "four arrays": (*PAIR, TEST, [0, 1, 1, 0]),
    "pairs": (PAIR, (TEST, [0, 1, 1, 0])),
    "a mapping": {"Train": PAIR, "TEST": (TEST, [0, 1, 1, 0])},
    "datasets": (Shapes(PIXELS, LABELS), Shapes(TEST, [0, 1, 1, 0])),
    "lists of pairs": (
        list(zip(PIXELS, LABELS.tolist(), strict=True)),
        list(zip(TEST, [0, 1, 1, 0], strict=True)),
    ),
}


@pytest.mark.parametrize("name", SPLIT)
def test_given_splits_stay_as_they_are(name):
    content = load(SPLIT[name])
    assert content.validation_indices is None
    np.testing.assert_array_equal(content.train.pixels[..., 0], PIXELS)
    np.testing.assert_array_equal(content.open_test().pixels[..., 0], TEST)
    assert content.open_test().labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    "data", [(*PAIR, TEST, [1, 1, 0, 0], *PAIR), {"train": PAIR, "val": (TEST, [1, 1, 0, 0]), "test": PAIR}]
)
def test_a_validation_part_stands_behind_the_images_that_train(data):
    content = load(data)
    assert content.validation_indices is not None
    assert content.validation_indices.tolist() == [N, N + 1, N + 2, N + 3]
    np.testing.assert_array_equal(content.train.pixels[N:, ..., 0], TEST)
    assert content.train.labels[N:].tolist() == [1, 1, 0, 0]


class Animal(enum.Enum):
    WOLF = "wolf"
    DOG = "dog"

    def __str__(self) -> str:
        return self.value


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "a"] * 10, ("a", "b")),
        (np.array(["b", "a"] * 10), ("a", "b")),
        ([10, 9] * 10, ("9", "10")),
        ([10.0, 9.0] * 10, ("9", "10")),
        ([True, False] * 10, ("False", "True")),
        ([Animal.WOLF, Animal.DOG] * 10, ("dog", "wolf")),
        ([("x", 1), ("a", 2)] * 10, ("('a', 2)", "('x', 1)")),
        (pd.Categorical(["b", "a"] * 10), ("a", "b")),
        ([np.int64(3), np.int64(1)] * 10, ("1", "3")),
    ],
    ids=["texts", "array", "numbers", "floats", "truth", "enum", "tuples", "categories", "numpy"],
)
def test_anything_that_can_be_told_apart_is_a_label(labels, names):
    content = load((PIXELS, labels))
    assert content.class_names == names
    found = whole(content)
    first = np.flatnonzero((found.pixels[..., 0] == PIXELS[0]).all((1, 2)))
    assert found.labels[first].tolist() == [1]


def test_names_of_the_classes_come_along():
    assert load(Rows()).class_names == ("cat", "dog")
    named = Shapes(PIXELS, LABELS)
    named.classes = ["ant", "bee", "cow"]  # type: ignore[attr-defined]
    content = load(named)
    assert content.class_names == ("ant", "bee", "cow")
    assert set(whole(content).labels.tolist()) == {0, 1}


def test_a_study_does_not_see_what_becomes_of_the_arrays():
    images = PIXELS.copy()
    study = rl.Study(data=(images, LABELS))
    images[:] = 0
    assert find_dataset(study.data).load(None).content_hash == load(PAIR).content_hash


def test_notes_say_what_was_done():
    assert load((PIXELS / 255, LABELS)).train.notes == ()
    assert load((PIXELS / 255, LABELS)).notes == (
        "floats from 0 to 1 became the levels 0 to 255, which is what they held",
    )


def test_keys_of_the_study_file_stand_beside_arrays():
    study = rl.Study(data={"name": PAIR, "normalize": "none"})
    assert study.data.normalize == "none"
    assert study.data.name.startswith("npz:given/")
    changed = rl.load_study(study, data={"normalize": "pixel"})
    assert (changed.data.name, changed.data.normalize) == (study.data.name, "pixel")
    assert rl.load_study("l1-l2", data=PAIR).data.name == study.data.name


class Flaky(Shapes):
    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index == 7:
            raise OSError("disk on fire")
        return super().__getitem__(index)


class Random(Shapes):
    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, label = super().__getitem__(index)
        return np.roll(image, int(torch.randint(1, 4, ())), axis=1), label


class Endless(IterableDataset):
    def __iter__(self) -> Any:
        return iter(zip(PIXELS, LABELS, strict=True))


VARIOUS = [*PIXELS[:3], np.zeros((7, 5), np.uint8), *PIXELS[4:8], np.zeros((7, 5), np.uint8), *PIXELS[9:]]
BAD: dict[str, Any] = {
    "a loader": (DataLoader(Shapes(PIXELS, LABELS)), ["loader of batches", "loader.dataset"]),
    "various sizes": (
        Shapes(VARIOUS, LABELS),
        ["different shapes", "uint8 (6, 5)", "uint8 (7, 5) of images 3, 8", "data.size"],
    ),
    "a list of various sizes": ((VARIOUS, LABELS), ["different shapes", "(7, 5) of images 3, 8"]),
    "various kinds": (Shapes([*PIXELS[:-1], PIXELS[-1] / 255], LABELS), ["float64 (6, 5) of image 19"]),
    "random": (Random(PIXELS, LABELS), ["another image when it is read again", "data.augment"]),
    "failing": (Flaky(PIXELS, LABELS), ["sample 7 cannot be read: OSError: disk on fire"]),
    "a stream": (Endless(), ["does not say how many", "list(dataset)"]),
    "empty": (Shapes([], []), ["a dataset without samples"]),
    "three things": (
        TensorDataset(*[torch.zeros(N, 2, 2)] * 3),
        ["sample 0 is no image with its label", "tuple of 3"],
    ),
    "no label": ([{"image": image} for image in PIXELS], ["sample 0 has no label", "image"]),
    "CMYK": (
        Shapes([Image.new("CMYK", (5, 6))] * N, LABELS),
        ["image 0 is neither grey nor RGB", "mode CMYK"],
    ),
    "normalized": ((PIXELS / 127 - 1, LABELS), ["data: floats outside 0 to 1", "leave out a normalization"]),
    "NaN": ((np.full((N, 4, 4), np.nan), LABELS), ["not finite"]),
    "ambiguous": ((np.zeros((N, 3, 8, 3), np.uint8), LABELS), ["may stand first or last"]),
    "flat": ((PIXELS.reshape(N, -1), LABELS), ["height and width nobody says"]),
    "a table": ((pd.DataFrame(PIXELS.reshape(N, -1)), LABELS), ["height and width nobody says"]),
    "labels missing": ({"train": (PIXELS, LABELS[:-1])}, ["data, train, labels", "19 labels", "20"]),
    "no name for a part": ({"train": PAIR, "tets": PAIR}, ["no part of a dataset", "tets"]),
    "no train": ({"test": PAIR}, ["nothing to train on"]),
    "twice": ({"train": PAIR, "val": PAIR, "Valid": PAIR}, ["two parts of one name", "Valid"]),
    "sklearn's order": ((PIXELS, TEST, LABELS, [0, 1, 1, 0]), ["images where labels belong", "side by side"]),
    "a class of the test part": ((*PAIR, TEST, [0, 1, 2, 0]), ["data, test", "no training image has", "2"]),
    "None among labels": ((PIXELS, [None, *["a", "b"] * 9, "a"]), ["without a label", "image 0"]),
    "lists as labels": ((PIXELS, [[1, 2]] * N), ["every image has one class"]),
    "sets as labels": ((PIXELS, [{1}, {2}] * 10), ["a label that cannot name a class", "set for image 0"]),
    "1 and '1'": ((PIXELS, [1, "1"] * 10), ["different labels with the same text", "1"]),
    "one class": ((PIXELS, [1] * N), ["fewer than two classes"]),
    "three arrays": ((PIXELS, LABELS, LABELS), ["no images and labels", "tuple of 3"]),
    "empty arrays": ((PIXELS[:0], LABELS[:0]), ["no images and labels", "uint8 (0, 6, 5), int64 (0,)"]),
    "swapped": ((LABELS, PIXELS), ["no images and labels", "int64 (20,), uint8 (20, 6, 5)"]),
    "a list too long": (([*PIXELS], LABELS[:-1]), ["no images and labels", "list of 20, int64 (19,)"]),
    "sparse": ((torch.zeros(N, 6, 5).to_sparse(), LABELS), ["data: no array of numbers", "Sparse"]),
    "without data": ((torch.empty(N, 6, 5, device="meta"), LABELS), ["data: no array of numbers", "meta"]),
    "masked": (
        (np.ma.masked_equal(PIXELS, PIXELS[0, 0, 0]), LABELS),
        ["no array of numbers", "masked values"],
    ),
    "bytes that are no text": ((PIXELS, [b"a", b"\xff"] * 10), ["labels that are no UTF-8", "xff"]),
    "labels too large to tell apart": (
        (PIXELS, (LABELS + 1) * 1e30),
        ["numbers that name no class", "2e+30"],
    ),
    "divided twice": (
        (PIXELS / 255 / 255, LABELS),
        ["none is above 1 of 255 levels", "divided by 255 twice"],
    ),
    "an array of names": (
        {"images": PIXELS, "labels": LABELS, "class_names": np.array(["a", "b"])},
        ["data: neither images nor labels", "class_names"],
    ),
    "only images by name": ({"x_train": PIXELS, "x_test": TEST}, ["data: x_train without labels"]),
    "an object": (object(), ["no images and labels", "object"]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_set_of_images_is_refused_at_construction(name):
    data, parts = BAD[name]
    said = refused(data)
    assert [part for part in parts if part not in said] == []


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([torch.tensor(label) for label in LABELS], ("0", "1")),
        ([b"cat", b"dog"] * 10, ("cat", "dog")),
        (torch.tensor(LABELS).to(torch.bfloat16), ("0", "1")),
    ],
    ids=["tensors", "bytes", "bfloat16"],
)
def test_labels_of_unusual_kinds(labels, names):
    content = load({"train": (PIXELS, labels), "test": (PIXELS, labels)})
    assert content.class_names == names
    assert content.train.labels.tolist() == LABELS.tolist()


def test_a_mapping_of_arrays_is_what_a_file_of_them_would_be(tmp_path):
    arrays: dict[str, Any] = {
        "train_images": PIXELS,
        "train_labels": LABELS,
        "x_test": TEST,
        "y_test": np.array([0, 1, 1, 0]),
    }
    np.savez(tmp_path / "set.npz", **arrays)
    wanted = find_dataset(f"npz:{tmp_path / 'set.npz'}").load(tmp_path)
    with np.load(tmp_path / "set.npz") as opened:
        for given_arrays in (arrays, opened):
            content = load(given_arrays)
            assert content.content_hash == wanted.content_hash
            assert content.open_test().content_hash() == wanted.open_test().content_hash()
    assert load({"X": PIXELS, "y": LABELS}).content_hash == load(PAIR).content_hash


def test_bfloat16_becomes_the_nearest_levels():
    images = torch.from_numpy(PIXELS / 255).to(torch.bfloat16)
    content = load({"train": (images, LABELS), "test": PAIR})
    wanted = np.rint(images.double().numpy() * 255)
    np.testing.assert_array_equal(content.train.pixels[..., 0], wanted)
    assert "at most 0.5 of a level away" in content.notes[0]


def test_equal_arrays_are_held_once():
    before = len(given._held)
    names = {rl.Study(data=(PIXELS + np.uint8(turn * 0), LABELS)).data.name for turn in range(3)}
    assert len(names) == 1
    assert len(given._held) <= before + 1


def test_a_path_is_never_the_name_of_a_dataset():
    assert rl.Study(data=Path("mnist")).data.name == "folder:mnist"
    assert rl.Study(data=Path("here") / "set.npz").data.name == "npz:here/set.npz"
    assert rl.Study(data=Path("photos.csv")).data.name == "csv:photos.csv"


def named(labels: Any, classes: list[str]) -> Shapes:
    dataset = Shapes(PIXELS, labels)
    dataset.classes = classes  # type: ignore[attr-defined]
    return dataset


def test_a_number_is_the_same_class_in_every_part():
    """Also where only the training part, of which no image is a bee, says what its numbers mean."""
    labels = np.where(LABELS == 0, 0, 2)
    content = load({"train": named(labels, ["ant", "bee", "cow"]), "test": (PIXELS, labels)})
    assert content.class_names == ("ant", "bee", "cow")
    assert content.open_test().labels.tolist() == labels.tolist()
    assert content.train.labels.tolist() == labels.tolist()


def test_names_of_the_test_part_alone_are_those_of_no_other():
    labels = np.where(LABELS == 0, 0, 2)
    content = load({"train": (PIXELS, labels), "test": named(labels, ["ant", "bee", "cow"])})
    assert content.class_names == ("0", "2")
    assert content.open_test().labels.tolist() == (labels // 2).tolist()


def test_parts_whose_numbers_mean_other_classes_are_refused():
    """As the folders of torchvision's ImageFolder do where a part lacks a class."""
    said = refused({"train": named(LABELS, ["ant", "bee"]), "test": named(LABELS, ["bee", "cow"])})
    for words in ("classes of other names", "bee, cow (test)", "ant, bee (train)"):
        assert words in said
