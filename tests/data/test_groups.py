"""Groups of images stay whole: parts near the sizes asked for, and refusals that name groups and numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regulab.config import Data, Protocol
from regulab.data import Images, load
from regulab.data.dataset import DatasetContent
from regulab.data.groups import Labelled, grouped, refuse_shared, with_groups
from regulab.data.sealing import sealed
from regulab.data.splits import split
from regulab.errors import UserError

NOWHERE = Path("unused")
NAMES = ("ant", "bee", "cow")


def labels_of(groups: dict[str, dict[int, int]]) -> Labelled:
    """From group -> class -> how many images."""
    rows = [(name, label) for name, own in groups.items() for label, n in own.items() for _ in range(n)]
    labels = np.array([label for _, label in rows], np.int64)
    return Labelled.of(labels, NAMES, [name for name, _ in rows])


def random_groups(seed: int, groups: int = 60) -> Labelled:
    """Of one to three classes each, of which the third is rare."""
    rng = np.random.default_rng(seed)
    return labels_of(
        {
            f"g{g:02}": {label: int(n) for label, n in enumerate(rng.poisson((4, 2, 0.6))) if n} or {0: 1}
            for g in range(groups)
        }
    )


def write(root: Path, counts: dict[str, int]) -> Path:
    """So many images in each folder, all different."""
    rng = np.random.default_rng(len(counts))
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (4, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{folder.replace('/', '-')}_{number}.png")
    return root


@pytest.mark.parametrize("seed", range(8))
def test_whole_groups_near_the_size_and_the_shares_asked_for(seed):
    images = random_groups(seed)
    count = len(images.labels) // 5
    chosen = grouped(images, count, "test")
    inside = np.isin(np.arange(len(images.labels)), chosen)
    assert not set(images.groups[inside]) & set(images.groups[~inside])
    assert abs(len(chosen) - count) <= 3
    shares = np.bincount(images.labels[inside]) / count - np.bincount(images.labels) / len(images.labels)
    assert np.abs(shares).max() < 0.07
    assert (np.diff(chosen) > 0).all()


def test_the_same_on_every_machine():
    """A change of these numbers would change every grouped study."""
    chosen = grouped(random_groups(1), 80, "validation")
    assert sorted(set(random_groups(1).groups[chosen].tolist())) == [3, 4, 9, 16, 17, 20, 26, 39, 45, 49]
    assert not np.array_equal(chosen, grouped(random_groups(1), 80, "test"))


def test_groups_of_one_image_are_a_stratified_split():
    images = labels_of({f"{n}": {n % 3 if n < 30 else 0: 1} for n in range(60)})
    chosen = grouped(images, 12, "test")
    assert np.bincount(images.labels[chosen]).tolist() == [8, 2, 2]


def test_every_class_stands_on_both_sides_though_it_has_few_groups():
    images = labels_of({**{f"a{n}": {0: 10} for n in range(20)}, "x": {1: 2}, "y": {1: 9}, "z": {1: 1}})
    for keep in (1, 2):
        chosen = grouped(images, 42, "test", keep=keep)
        inside = set(images.groups[chosen]) & {20, 21, 22}
        assert 1 <= len(inside) <= 3 - keep


def test_a_class_of_one_group_cannot_be_split():
    images = labels_of({"P1": {0: 5}, "P2": {0: 5}, "P3": {1: 7}})
    message = r"class bee .*too few groups to stand in 2 parts; got '7 images, all of 1 group \(P3\)'"
    with pytest.raises(UserError, match=message):
        grouped(images, 4, "validation")


def test_fewer_groups_than_parts_cannot_be_split():
    images = labels_of({"P1": {0: 5, 1: 5}, "P2": {0: 5, 1: 5}})
    with pytest.raises(UserError, match=r"fewer groups than parts; got '2 groups \(P1, P2\), for 3 parts'"):
        grouped(images, 4, "test", keep=2)


def test_groups_too_large_for_the_part_are_refused_by_name():
    images = labels_of({"P1": {0: 60, 1: 50}, "P2": {0: 30, 1: 30}})
    message = r"got '60 images where 20 are asked for; the largest group, P1, has 110 of 170'"
    with pytest.raises(UserError, match=message):
        grouped(images, 20, "test")


def test_classes_that_hang_together_are_refused():
    """Each class has two groups, and no group leaves every class one."""
    images = labels_of({"P1": {0: 3, 1: 3, 2: 3}, "P2": {0: 3, 1: 3}, "P3": {2: 3}, "P4": {2: 2}})
    assert len(grouped(images, 6, "test")) in (6, 8, 9)
    with pytest.raises(UserError, match="class ant has images of too few groups to stand in 3 parts"):
        grouped(images, 6, "test", keep=2)


def test_a_folder_is_cut_by_the_folders_below_its_classes(tmp_path):
    counts = {f"{c}/{p}{n}": 2 + n % 3 for c, p in (("cat", "P"), ("dog", "Q")) for n in range(10)}
    counts["dog/P3"] = 4  # a patient with images of both classes
    splits = load(Data(name=f"folder:{write(tmp_path, counts)}", group="folder"), Protocol(), NOWHERE)
    parts = [splits.train, splits.validation, splits.open_test()]
    seen = [{splits.group_names[group] for group in part.groups} for part in parts]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 20
    assert sum(map(len, parts)) == sum(counts.values())
    assert splits.notes[-1] == (
        f"data: no group stands on both sides of a split: {len(seen[0])} groups of {len(parts[0])} images train, "
        f"{len(seen[1])} groups of {len(parts[1])} images validate, {len(seen[2])} groups of {len(parts[2])} images "
        "test"
    )


def test_a_folder_is_cut_by_the_names_of_its_files(tmp_path):
    counts = {f"{c}/{n}": 3 for c in ("cat", "dog") for n in range(6)}
    path = write(tmp_path, counts)
    splits = load(Data(name=f"folder:{path}", group=r"name:-(\d+)_"), Protocol(), NOWHERE)
    assert splits.group_names == tuple("012345")
    test = splits.open_test()
    assert not set(test.groups) & set(splits.train.groups)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("patient", "a folder has no such groups; got 'patient'; expected folder, or name:PATTERN"),
        (
            "name:^(X)",
            r"10 of 10 images have names in which \^\(X\) finds nothing; got 'cat/cat_0.png, .* and 5 more'",
        ),
        ("folder", r"10 of 10 images lie in no folder below their class folder"),
    ],
)
def test_images_without_a_group_are_named(tmp_path, group, message):
    path = write(tmp_path, {"cat": 5, "dog": 5})
    with pytest.raises(UserError, match=rf"data\.group: {message}"):
        load(Data(name=f"folder:{path}", group=group), Protocol(), NOWHERE)


@pytest.mark.parametrize("bad", ["name:(P", "name:P", "name:(P)(Q)"])
def test_a_pattern_has_one_pair_of_brackets(bad):
    with pytest.raises(UserError, match="group"):
        Data(name="folder:x", group=bad)


def test_groups_mean_nothing_to_a_dataset_without_files():
    with pytest.raises(UserError, match="group has no effect on the dataset mnist"):
        load(Data(name="mnist", group="folder"), Protocol(), NOWHERE)


def test_splits_of_a_persons_own_are_checked(tmp_path):
    counts = {"train/cat/P1": 3, "train/dog/P2": 3, "train/dog/P3": 2, "test/cat/P4": 2, "test/dog/P2": 1}
    data = Data(name=f"folder:{write(tmp_path, counts)}", group="folder")
    message = r"both sides of a split; got '1 of 4 groups: P2 \(3 train, 1 test\) images'"
    with pytest.raises(UserError, match=message):
        load(data, Protocol(kind="course"), NOWHERE)
    load(data.model_copy(update={"group": None}), Protocol(kind="course"), NOWHERE)


def test_a_validation_part_of_ones_own_is_checked():
    images = made({"P1": {0: 3, 1: 3}, "P2": {0: 3, 1: 3}})
    with pytest.raises(UserError, match=r"1 of 3 groups: P1 \(2 train, 4 validate\) images"):
        sealed(split(replace(images, validation_indices=np.array([0, 1, 2, 3])), Protocol(), None))


def made(groups: dict[str, dict[int, int]]) -> DatasetContent:
    """Training images of these groups, and a test split of another."""
    found = labels_of(groups)
    rng = np.random.default_rng(0)
    train = Images(rng.integers(0, 256, (len(found.labels), 3, 3, 1), dtype=np.uint8), found.labels)
    test = Images(rng.integers(0, 256, (2, 3, 3, 1), dtype=np.uint8), np.array([0, 1]))
    content = DatasetContent(
        class_names=NAMES[:2],
        train=train,
        validation_indices=None,
        open_test=lambda: test,
        content_hash=train.content_hash(),
    )
    return with_groups(content, [found.group_names[group] for group in found.groups], ["T", "T"])


def test_validation_is_cut_by_groups_and_training_images_one_by_one():
    """All images that train stand on one side, so that ``train_images`` may leave a group in part."""
    content = made({f"P{n}": {n % 2: 5} for n in range(12)})
    splits = split(content, Protocol(validation=9), 31)
    assert len(splits.train) == 31
    assert len(splits.validation) == 10
    assert splits.notes == ("the validation part has 10 images, where 9 are asked for: groups stay whole",)
    refuse_shared({"train": splits.train, "validate": splits.validation}, splits.group_names)


def test_a_folder_with_a_validation_part_and_no_test_is_cut_by_groups_too(tmp_path):
    counts = {
        f"{part}/{c}/{part}{n}": 4 for part in ("train", "val") for c in ("cat", "dog") for n in range(10)
    }
    splits = load(Data(name=f"folder:{write(tmp_path, counts)}", group="folder"), Protocol(), NOWHERE)
    assert {splits.group_names[group][:3] for group in splits.validation.groups} == {"val"}
    assert not set(splits.open_test().groups) & set(splits.train.groups)


def table(path: Path, split: bool) -> Path:
    """60 images of 12 patients; the last three patients validate or test where there is a column for it."""
    rng = np.random.default_rng(1)
    rows = ["file_name,label,patient" + ",split" * split]
    for n in range(60):
        Image.fromarray(rng.integers(0, 256, (4, 4), dtype=np.uint8)).save(path / f"{n}.png")
        part = {9: ",val", 10: ",test", 11: ",test"}.get(n // 5, ",train")
        rows.append(f"{n}.png,{'cat' if n // 5 % 2 else 'dog'},P{n // 5}{part * split}")
    (path / "images.csv").write_text("\n".join(rows))
    return path / "images.csv"


@pytest.mark.parametrize("split", [True, False])
def test_a_table_names_groups_in_a_column(tmp_path, split):
    data = Data(name=f"csv:{table(tmp_path, split)}", group="patient")
    splits = load(data, Protocol() if split else Protocol(validation=10), NOWHERE)
    parts = (splits.train, splits.validation, splits.open_test())
    seen = [{splits.group_names[group] for group in part.groups} for part in parts]
    assert sorted(set.union(*seen)) == sorted(f"P{n}" for n in range(12))
    assert [len(part) for part in parts] == ([45, 5, 10] if split else [40, 10, 10])
    assert sum(map(len, seen)) == 12
    if split:
        assert seen[1:] == [{"P9"}, {"P10", "P11"}]


def test_a_table_without_that_column_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"data\.group: no such column; got 'person'"):
        load(Data(name=f"csv:{table(tmp_path, False)}", group="person"), Protocol(), NOWHERE)


def arrays(path: Path, **more: np.ndarray) -> str:
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (60, 4, 4), dtype=np.uint8)
    content: dict[str, Any] = {"images": images, "labels": np.arange(60) // 5 % 2, **more}
    np.savez(path / "a.npz", **content)
    return f"npz:{path / 'a.npz'}"


def test_arrays_name_groups_in_an_array(tmp_path):
    name = arrays(tmp_path, patient=np.arange(60) // 5)
    splits = load(Data(name=name, group="patient"), Protocol(), NOWHERE)
    assert not set(splits.open_test().groups) & set(splits.train.groups)
    assert not any("left out" in note for note in splits.notes)
    assert any("left out" in note for note in load(Data(name=name), Protocol(), NOWHERE).notes)


def test_arrays_of_parts_name_their_groups_part_by_part(tmp_path):
    rng = np.random.default_rng(3)
    content: dict[str, Any] = {}
    for part, count, first in (("train", 40, 0), ("val", 10, 8), ("test", 10, 10)):
        content[f"{part}_images"] = rng.integers(0, 256, (count, 4, 4), dtype=np.uint8)
        content[f"{part}_labels"] = np.arange(count) // 5 % 2
        content[f"{part}_patient"] = np.array([f"P{first + n // 5}" for n in range(count)])
    np.savez(tmp_path / "a.npz", **content)
    splits = load(Data(name=f"npz:{tmp_path / 'a.npz'}", group="patient"), Protocol(), NOWHERE)
    assert {splits.group_names[group] for group in splits.validation.groups} == {"P8", "P9"}
    content["test_patient"][3] = "P2"
    np.savez(tmp_path / "b.npz", **content)
    with pytest.raises(UserError, match=r"1 of 12 groups: P2 \(5 train, 1 test\) images"):
        load(Data(name=f"npz:{tmp_path / 'b.npz'}", group="patient"), Protocol(), NOWHERE)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (np.arange(59), r"no groups of images; got 'int64 of the shape \(59,\)'"),
        (np.arange(60) / 7, "no groups of images; got 'float64 of the shape"),
        (None, "no array of groups; got 'images, labels, and data.group patient'; expected patient"),
    ],
    ids=["short", "fractions", "absent"],
)
def test_arrays_that_are_no_groups_are_refused(tmp_path, group, message):
    name = arrays(tmp_path, **({} if group is None else {"patient": group}))
    with pytest.raises(UserError, match=message):
        load(Data(name=name, group="patient"), Protocol(), NOWHERE)
