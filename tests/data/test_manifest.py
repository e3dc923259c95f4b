"""Images by a table of file names and labels: ``csv:PATH``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regulab.data import find_dataset
from regulab.data.dataset import DatasetContent
from regulab.errors import UserError

LABELS = ("wolf", "dog", "dog", "wolf", "wolf", "dog", "wolf", "dog", "dog", "wolf")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images whose every pixel is their number."""
    (tmp_path / "in").mkdir()
    for number in range(10):
        Image.new("L", (6, 5), number).save(tmp_path / "in" / f"{number}.png")
    return tmp_path


def table(folder: Path, text: str, name: str = "photos.csv") -> Path:
    (folder / name).write_bytes(text.encode())
    return folder / name


def rows(*splits: str, delimiter: str = ",", header: str = "file_name,label,split") -> str:
    lines = [header.replace(",", delimiter)]
    for number, label in enumerate(LABELS):
        cells = [f"in/{number}.png", label, *([splits[number]] if splits else [])]
        lines.append(delimiter.join(cells))
    return "\n".join(lines) + "\n"


def load(path: Path) -> DatasetContent:
    return find_dataset(f"csv:{path}").load(path.parent)


SPLITS = ("test", "train", "val", "train", "train", "test", "val", "train", "train", "train")


def test_images_keep_the_order_of_their_rows(folder):
    content = load(table(folder, rows(*SPLITS)))
    assert content.class_names == ("dog", "wolf")
    assert content.train.pixels[:, 0, 0, 0].tolist() == [1, 3, 4, 7, 8, 9, 2, 6]
    assert content.train.labels.tolist() == [0, 1, 1, 0, 0, 1, 0, 1]
    assert content.validation_indices is not None
    assert content.validation_indices.tolist() == [6, 7]
    test = content.open_test()
    assert test.pixels[:, 0, 0, 0].tolist() == [0, 5]
    assert test.labels.tolist() == [1, 0]
    assert test.files is not None
    assert test.files.tolist() == ["in/0.png", "in/5.png"]


def test_without_a_split_a_fifth_tests_and_a_fifth_validates(folder):
    content = load(table(folder, rows(header="file_name,label")))
    test = content.open_test()
    assert (len(content.train), np.size(content.validation_indices), len(test)) == (8, 2, 2)
    seen = [*content.train.pixels[:, 0, 0, 0].tolist(), *test.pixels[:, 0, 0, 0].tolist()]
    assert sorted(seen) == list(range(10))


@pytest.mark.parametrize(
    "text",
    [
        rows(*SPLITS, delimiter=";"),
        rows(*SPLITS, delimiter="\t"),
        "\ufeff" + rows(*SPLITS),
        rows(*SPLITS).replace("\n", "\r\n"),
        rows(*SPLITS, header="Path,Class,Subset"),
        rows(*SPLITS, header=" FILENAME , Target,SPLIT"),
        rows(*SPLITS, header="image,category,set"),
        rows(*(split.upper() for split in SPLITS)),
        rows(*({"val": "Validation", "test": "testing", "train": "Training"}[split] for split in SPLITS)),
        rows(*SPLITS).replace("in/", "in\\"),
        rows(*SPLITS).replace("in/3.png", '"in/3.png"') + "\n\n",
    ],
    ids=[
        ";",
        "tab",
        "byte-order mark",
        "CRLF",
        "Path",
        "spaces",
        "image",
        "upper",
        "words",
        "backslash",
        "quotes",
    ],
)
def test_the_many_ways_to_write_one_table(text, folder):
    plain, other = load(table(folder, rows(*SPLITS))), load(table(folder, text, "other.csv"))
    assert other.content_hash == plain.content_hash
    assert other.open_test().content_hash() == plain.open_test().content_hash()
    np.testing.assert_array_equal(other.validation_indices, plain.validation_indices)


def test_ids_get_the_suffix_that_their_files_have(folder):
    text = rows(*SPLITS, header="image_id,label,split").replace(".png", "")
    assert load(table(folder, text)).content_hash == load(table(folder, rows(*SPLITS), "b.csv")).content_hash


def test_without_a_test_part_a_fifth_of_what_trains_tests(folder):
    content = load(table(folder, rows(*("val" if split == "test" else split for split in SPLITS))))
    assert content.validation_indices is not None
    assert content.train.pixels[content.validation_indices, 0, 0, 0].tolist() == [0, 2, 5, 6]
    test = content.open_test().pixels[:, 0, 0, 0].tolist()
    trains = np.delete(content.train.pixels, content.validation_indices, axis=0)[:, 0, 0, 0].tolist()
    assert len(test) == 1
    assert sorted(test + trains) == [1, 3, 4, 7, 8, 9]
    assert "a fixed fifth of the training images" in content.notes[0]
    alone = load(table(folder, rows(*["train"] * 10), "train.csv"))
    assert alone.content_hash == load(table(folder, rows(header="file_name,label"), "none.csv")).content_hash


def test_a_label_with_a_comma_stands_in_quotes(folder):
    content = load(table(folder, rows(*SPLITS).replace("wolf", '"wolf, grey"')))
    assert content.class_names == ("dog", "wolf, grey")


BAD = {
    "no labels": (
        rows(*SPLITS, header="file_name,name,split"),
        r"no column of labels; got 'file_name, name, split'",
    ),
    "no files": (rows(*SPLITS, header="photo,label,split"), r"no column of files; got 'photo, label, split'"),
    "no header": (rows(*SPLITS).partition("\n")[2], "no column of files"),
    "empty": ("", "an empty table"),
    "a header alone": ("file_name,label\n", "a table without rows"),
    "files missing": (
        rows(*SPLITS).replace("in/2", "in/22").replace("in/5", "in/55"),
        r"line 4: 2 of 10 files are not there; got 'in/22.png, in/55.png'",
    ),
    "no label": (
        rows(*SPLITS).replace("in/4.png,wolf", "in/4.png,"),
        "line 6: rows with nothing under label; got '1 of",
    ),
    "no file": (rows(*SPLITS).replace("in/4.png", " "), "line 6: rows with nothing under file_name"),
    "twice": (rows(*SPLITS).replace("in/4.png", "in/3.png"), "lines 5 and 6: a file stands there twice"),
    "two labels": (
        rows(*SPLITS).replace("in/2.png", "in/../in/0.png"),
        "lines 2 and 4: a file stands there with two labels; got 'in/../in/0.png: wolf and dog'",
    ),
    "unknown split": (
        rows(*SPLITS[:9], "hold-out"),
        "line 11: a split of no known name; got 'hold-out in 1 of 10",
    ),
    "blank split": (rows(*SPLITS[:9], ""), "a split of no known name; got 'nothing in 1 of"),
    "no train": (rows(*["test"] * 10), "no row of the split train"),
    "only in test": (
        rows(*SPLITS).replace("in/0.png,wolf", "in/0.png,fox"),
        "labels that no training image has; got 'fox'",
    ),
    "one class": (rows(*SPLITS).replace("wolf", "dog"), "fewer than two classes"),
    "too few": ("file,label\nin/0.png,a\nin/1.png,b\n", "too few images to cut"),
    "a short row": (rows(*SPLITS) + "in/9.png,dog\n", "line 12: a row of another length"),
    "two columns": (rows(*SPLITS, header="label,label,split"), "two columns of one name; got 'label'"),
    "zero bytes": ("file,label\0\n", "zero bytes"),
    "control characters": (rows(*SPLITS).replace("wolf", "wo\x1blf"), "control characters"),
    "an open quote": (rows(*SPLITS).replace("in/4.png", '"in/4.png'), "photos.csv"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_such_table_is_refused(name, folder):
    text, message = BAD[name]
    with pytest.raises(UserError, match=message):
        load(table(folder, text))


def test_other_encodings_and_places_are_named(folder):
    path = folder / "photos.csv"
    path.write_bytes(rows().encode("utf-16"))
    with pytest.raises(UserError, match="UTF-16"):
        load(path)
    path.write_bytes(rows().replace("wolf", "wölf").encode("latin-1"))
    with pytest.raises(UserError, match=r"line 2: byte .* is no UTF-8"):
        load(path)
    with pytest.raises(UserError, match="no such file"):
        load(folder / "none.csv")
    with pytest.raises(UserError, match=r"a folder, no table; .*expected folder:"):
        load(folder)


def test_a_damaged_test_image_is_noticed_when_the_test_split_is_opened(folder):
    (folder / "in" / "5.png").write_bytes(b"no image")
    content = load(table(folder, rows(*SPLITS)))
    with pytest.raises(UserError, match=r"5\.png"):
        content.open_test()


def test_which_of_two_columns_of_labels_was_taken_is_said(folder):
    lines = [f"in/{number}.png,{number % 3},{label}" for number, label in enumerate(LABELS)]
    text = "\n".join(["file_name,Class,label", *lines])
    content = load(table(folder, text))
    assert content.class_names == ("dog", "wolf")
    said = "labels are those of the column label; another column with such a name was left out: Class"
    assert said in content.notes


@pytest.mark.parametrize(
    ("place", "cure"),
    [
        ("https://images.org/{}.png", "addresses are not read: download the files"),
        ("C:\\me\\{}.png", "leave out what comes before the files' places"),
        ("nowhere/{}.png", ""),
    ],
    ids=["address", "Windows", "here"],
)
def test_files_of_another_place_are_missing_with_the_cure(folder, place, cure):
    lines = [f"{place.format(number)},{label}" for number, label in enumerate(LABELS)]
    with pytest.raises(UserError, match="10 of 10 files are not there") as caught:
        load(table(folder, "\n".join(["file_name,label", *lines])))
    assert caught.value.cure.startswith(cure)
    assert bool(caught.value.cure) == bool(cure)
