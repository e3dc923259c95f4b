"""What is found in a person's images: counts, sizes, colours, copies, blanks, files that cannot be read."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regulab.data.formats.in_order import in_order
from regulab.data.reading_shown import reading_shown
from regulab.data.survey import look
from regulab.data.survey.facts import LARGE, is_blank
from regulab.data.survey.survey import WHOLE, Survey
from regulab.errors import UserError
from tests.cases.making_images import fill, noise, save, with_splits


def places(facts) -> list[str]:
    return [one.place for one in facts]


def test_classes_and_parts_are_counted(tmp_path):
    whole = look(fill(tmp_path / "whole", {"cat": 3, "dog": 5}))
    assert whole.class_names == ("cat", "dog")
    assert {part: counts.tolist() for part, counts in whole.counts.items()} == {WHOLE: [3, 5]}
    parts = look(with_splits(tmp_path / "parts", val=4))
    assert {part: counts.tolist() for part, counts in parts.counts.items()} == {
        "train": [8, 8],
        "val": [4, 4],
        "test": [6, 6],
    }
    assert (whole.format, whole.channels, list(whole.sizes.items())) == ("folder", 1, [((8, 8), 8)])


def test_parts_of_other_names_are_theirs_and_named(tmp_path):
    for name in ("Training", "TEST"):
        fill(tmp_path / name, {"cat": 2, "dog": 3})
    found = look(tmp_path)
    assert [*found.counts] == ["train", "test"]
    assert found.notes == ("folders were taken by their names: TEST as test, Training as train",)


def test_a_lone_training_folder_is_cut_as_a_study_cuts_it(tmp_path):
    fill(tmp_path / "train", {"cat": 4, "dog": 4})
    assert [*look(tmp_path).counts] == [WHOLE]


def test_parts_of_other_classes_are_refused(tmp_path):
    fill(tmp_path / "train", {"cat": 2, "dog": 2})
    fill(tmp_path / "test", {"cat": 2, "hen": 2})
    with pytest.raises(UserError, match="other classes"):
        look(tmp_path)


@pytest.fixture
def mixed(tmp_path) -> Survey:
    """Of 8 × 6 pixels: grey, colour, CMYK, 16 bits, several frames; one damaged, one transparent; a copy of two."""
    folder = fill(tmp_path / "images", {"a": 3, "b": 3})
    (folder / "a" / "cut.png").write_bytes((folder / "a" / "00.png").read_bytes()[:60])
    shutil.copy(folder / "a" / "00.png", folder / "b" / "again.png")
    save(folder / "b" / "again.bmp", np.asarray(Image.open(folder / "b" / "00.png")))
    Image.new("RGB", (6, 8), (200, 10, 90)).save(folder / "a" / "plain.png")
    Image.new("RGBA", (6, 8), (200, 10, 90, 7)).save(folder / "a" / "clear.png")
    Image.fromarray(noise(8, 24).reshape(8, 6, 4), "CMYK").save(folder / "b" / "print.jpg")
    save(folder / "b" / "deep.png", RANDOM.integers(0, 4096, (8, 6)).astype(np.uint16))
    frames = [Image.fromarray(noise(8, 6)) for _ in range(3)]
    frames[0].save(folder / "b" / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "b" / "notes.txt").touch()
    return look(folder)


RANDOM = np.random.default_rng(3)


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
class TestWhatIsThere:
    def test_what_cannot_be_read_is_named_with_its_reason(self, mixed):
        assert [(one.place, one.reason) for one in mixed.refused] == [
            ("a/clear.png", "an image with transparent pixels"),
            ("a/cut.png", "image file is truncated"),
        ]
        assert mixed.counts[WHOLE].tolist() == [4, 8]

    def test_copies_whatever_their_format_and_whatever_their_class(self, mixed):
        assert [places(group) for group in mixed.copies] == [
            ["a/00.png", "b/again.png"],
            ["b/00.png", "b/again.bmp"],
        ]

    def test_what_shows_nothing(self, mixed):
        assert places(mixed.blank) == ["a/plain.png"]

    def test_kinds_of_files(self, mixed):
        assert mixed.channels == 3
        assert mixed.depths == {"8-bit levels": 11, "grey levels of 16 or 32 bits": 1}
        assert places(one for one in mixed.images if one.cmyk) == ["b/print.jpg"]
        assert places(one for one in mixed.images if one.several_frames) == ["b/moving.gif"]

    def test_what_was_left_out(self, mixed):
        assert mixed.notes == (
            "1 entry left out (hidden, not in a class folder, or no image by the name): b/notes.txt",
        )


def test_large_files_are_as_large_as_they_are_and_known_by_their_bytes(tmp_path):
    folder = fill(tmp_path, {"a": 1, "b": 1})
    photo = save(
        folder / "a" / "photo.jpg", RANDOM.integers(0, 256, (900, 1201, 3), dtype=np.uint8), quality=90
    )
    assert photo.stat().st_size > LARGE
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photo).save(folder / "b" / "turned.jpg", quality=90, exif=exif)
    shutil.copy(photo, folder / "b" / "same.jpg")
    found = look(folder)
    sizes = {one.place: one.size for one in found.images}
    assert sizes["a/photo.jpg"] == sizes["b/same.jpg"] == (1201, 900)
    assert sizes["b/turned.jpg"] == (900, 1201)
    assert [places(group) for group in found.copies] == [["a/photo.jpg", "b/same.jpg"]]


@pytest.mark.parametrize(
    ("array", "blank"),
    [
        (np.full((9, 9), 7, np.uint8), True),
        (np.arange(81, dtype=np.uint8).reshape(9, 9) % 5, True),
        (np.arange(81, dtype=np.uint8).reshape(9, 9) % 6, False),
        (np.pad(np.full((1, 1), 255, np.uint8), ((0, 14), (0, 14))), True),
        (np.full((9, 9), 4000, np.uint16), True),
        (np.arange(81, dtype=np.uint16).reshape(9, 9) * 40, False),
        (np.zeros((9, 9), np.float32), True),
        (np.full((9, 9, 3), (200, 10, 90), np.uint8), True),
        (np.dstack([np.full((9, 9), 7), np.full((9, 9), 7), np.eye(9) * 255]).astype(np.uint8), False),
    ],
    ids=[
        "one-level",
        "four-apart",
        "five-apart",
        "a-dead-pixel",
        "deep",
        "deep-ramp",
        "zeros",
        "one-colour",
        "one-channel",
    ],
)
def test_blank(array, blank):
    assert is_blank(array) is blank


def test_a_table_with_splits(tmp_path):
    fill(tmp_path / "files", {"x": 6})
    rows = [
        f"files/x/{i:02}.png,{'odd' if i % 2 else 'even'},{'test' if i > 3 else 'train'}" for i in range(6)
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["file_name,label,split", *rows]))
    found = look(table)
    assert (found.format, found.class_names) == ("csv", ("even", "odd"))
    assert {part: counts.tolist() for part, counts in found.counts.items()} == {
        "train": [2, 2],
        "test": [1, 1],
    }
    assert found.images[0].place == "files/x/00.png"
    table.write_text("\n".join(["file_name,label", *(row.rpartition(",")[0] for row in rows)]))
    assert look(table).counts[WHOLE].tolist() == [3, 3]


def test_arrays_with_and_without_parts(tmp_path):
    pixels, labels = RANDOM.integers(0, 256, (20, 5, 7, 3), dtype=np.uint8), np.arange(20) % 2
    pixels[3] = pixels[0]
    pixels[5] = 9
    np.savez(tmp_path / "a.npz", images=pixels, labels=labels)
    found = look(tmp_path / "a.npz")
    assert (found.format, found.channels, [*found.sizes]) == ("npz", 3, [(7, 5)])
    assert found.counts[WHOLE].tolist() == [10, 10]
    assert len(found.blank) == 1
    assert [len(group) for group in found.copies] == [2]
    parts = {"train": slice(0, 12), "val": slice(12, 16), "test": slice(16, 20)}
    arrays: dict[str, Any] = {f"{part}_images": pixels[rows] for part, rows in parts.items()}
    arrays |= {f"{part}_labels": labels[rows] for part, rows in parts.items()}
    np.savez(tmp_path / "b.npz", **arrays)
    counts = look(tmp_path / "b.npz").counts
    assert {part: of.tolist() for part, of in counts.items()} == {
        "train": [6, 6],
        "val": [2, 2],
        "test": [2, 2],
    }


def test_classes_that_look_alike_are_told_through_every_door(tmp_path):
    folder = fill(tmp_path / "photos", {"Cat": 5, "cat": 5})
    rows = [f"photos/{name}/{number:02}.png,{name}" for name in ("Cat", "cat") for number in range(5)]
    (tmp_path / "a.csv").write_text("\n".join(["file_name,label", *rows]))
    images, labels = np.arange(160, dtype=np.uint8).reshape(10, 4, 4), np.array(["Cat", "cat"] * 5)
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    for place in (folder, tmp_path / "a.csv", tmp_path / "a.npz"):
        assert any("“Cat”, “cat”" in note for note in look(place).notes), place


def test_links_are_followed_once(tmp_path):
    fill(tmp_path / "elsewhere", {"a": 2, "b": 3})
    images = tmp_path / "images"
    images.mkdir()
    for name in "ab":
        (images / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "a" / "loop").symlink_to(images / "a")
    assert look(images).counts[WHOLE].tolist() == [2, 3]


def test_reading_is_shown(tmp_path):
    folder = fill(tmp_path, {"a": 2, "b": 3})
    told: list[object] = []

    class Shown:
        def __init__(self, what: str, total: int) -> None:
            told.append((what, total))

        def __enter__(self):
            return told.append

        def __exit__(self, *_):
            return None

    with reading_shown(Shown, lambda _: None):
        look(folder)
    assert told == [("looking at images", 5), 1, 1, 1, 1, 1]


def test_threads_leave_the_filters_of_warnings_as_they_were():
    """Two that set filters at once, of which the first to begin is the first to end."""
    begun, first_ended = Barrier(2), Event()

    def decode(number: int) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            begun.wait(10)
            if number == 1:
                assert first_ended.wait(10)
        if number == 0:
            first_ended.set()
        return number

    before = list(warnings.filters)
    assert [made for _, made in in_order(decode, [0, 1], what="", threads=2)] == [0, 1]
    assert warnings.filters == before


class TestRefused:
    def refused(self, path: Path) -> str:
        with pytest.raises(UserError) as caught:
            look(path)
        return str(caught.value)

    def test_an_empty_folder(self, tmp_path):
        assert "no images here; got 'an empty folder'" in self.refused(tmp_path)

    def test_files_of_other_kinds(self, tmp_path):
        for name in ("a.txt", "b.txt", "c.pdf", "d"):
            (tmp_path / name).touch()
        said = self.refused(tmp_path)
        assert "4 files that are no images by their names (2 .txt, 1 .pdf, 1 without an ending)" in said

    def test_images_without_class_folders(self, tmp_path):
        fill(tmp_path, {".": 3})
        said = self.refused(tmp_path)
        assert "images without class folders; got '3 images in the folder itself'" in said
        assert "file_name and label" in said

    def test_one_class(self, tmp_path):
        fill(tmp_path, {"cat": 3})
        assert "fewer than two class folders; got 'cat, with 3 images'" in self.refused(tmp_path)

    def test_one_class_beside_loose_images(self, tmp_path):
        fill(tmp_path, {"cat": 3, ".": 1})
        assert "got 'cat, and 1 image beside it'" in self.refused(tmp_path)

    def test_classes_far_below(self, tmp_path):
        fill(tmp_path / "a" / "b" / "c" / "d" / "e", {"cat": 3, "dog": 3})
        said = self.refused(tmp_path)
        assert f"did you mean {tmp_path}/a/b/c/d/e? there are cat, dog" in said

    def test_only_damaged_files(self, tmp_path):
        for path in [*fill(tmp_path, {"cat": 2, "dog": 1}).rglob("*.png")]:
            path.write_bytes(b"no image")
        assert "cat/00.png and 2 more: no image can be read" in self.refused(tmp_path)

    def test_nothing_there(self, tmp_path):
        assert "no images there" in self.refused(tmp_path / "nowhere")
        (tmp_path / "file.zip").touch()
        assert "no images there" in self.refused(tmp_path / "file.zip")
