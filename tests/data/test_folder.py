import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regulab.config import Data, Protocol
from regulab.data import find_dataset, load
from regulab.errors import UserError

RANDOM = np.random.default_rng(9)


def grey(height: int = 6, width: int = 5) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width), dtype=np.uint8)


def colour() -> np.ndarray:
    return RANDOM.integers(0, 256, (6, 5, 3), dtype=np.uint8)


def save(path: Path, array: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def fill(folder: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        for number in range(count):
            save(folder / name / f"{number:02}.png", grey())
    return folder


def content(path: Path):
    return find_dataset(f"folder:{path}").load(Path("unused"))


def pixels_of(path: Path, one: np.ndarray | Path) -> np.ndarray:
    """What becomes of an image: the first one of a folder that is made for it, with its own splits."""
    for split in ("train", "test"):
        for name in ("a", "b"):
            target = path / split / name / "0.png"
            target.parent.mkdir(parents=True)
            if isinstance(one, Path):
                target.write_bytes(one.read_bytes())
            else:
                save(target, one)
    return content(path).train.pixels[0]


def test_fixed_stratified_fifths(tmp_path):
    path = fill(tmp_path, {"dog": 15, "cat": 10, "ant": 5})
    splits = load(Data(name=f"folder:{path}"), Protocol(), Path("unused"))
    assert splits.class_names == ("ant", "cat", "dog")
    test = splits.open_test()
    counts = [np.bincount(part.labels).tolist() for part in (splits.train, splits.validation, test)]
    assert counts == [[3, 6, 9], [1, 2, 3], [1, 2, 3]]
    written = {np.asarray(Image.open(file)).tobytes(): file.parent.name for file in path.glob("*/*.png")}
    read = {
        part.pixels[i].tobytes(): splits.class_names[part.labels[i]]
        for part in (splits.train, splits.validation, test)
        for i in range(len(part))
    }
    assert read == written


def test_a_folder_that_moved_has_the_same_splits(tmp_path):
    fill(tmp_path / "here", {"a": 8, "b": 7})
    before = load(Data(name=f"folder:{tmp_path / 'here'}"), Protocol(), Path("unused"))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    after = load(Data(name=f"folder:{tmp_path / 'there'}"), Protocol(), Path("unused"))
    assert (before.index_hash, before.content_hash) == (after.index_hash, after.content_hash)
    assert np.array_equal(before.open_test().pixels, after.open_test().pixels)


def test_own_splits_are_used(tmp_path):
    for split, count in {"train": 4, "val": 2, "test": 3}.items():
        fill(tmp_path / split, {"a": count, "b": count})
    splits = load(Data(name=f"folder:{tmp_path}"), Protocol(), Path("unused"))
    assert [len(splits.train), len(splits.validation), len(splits.open_test())] == [8, 4, 6]
    first = np.asarray(Image.open(tmp_path / "val" / "a" / "00.png"))
    assert np.array_equal(splits.validation.pixels[0, ..., 0], first)
    assert splits.validation.labels.tolist() == [0, 0, 1, 1]


def test_without_val_one_sixth_of_train_validates(tmp_path):
    for split in ("train", "test"):
        fill(tmp_path / split, {"a": 6, "b": 6})
    splits = load(Data(name=f"folder:{tmp_path}"), Protocol(), Path("unused"))
    assert [len(splits.train), len(splits.validation)] == [10, 2]


def test_any_case_other_files_hidden_files_and_symlinks(tmp_path):
    fill(tmp_path, {"a": 5, "b": 5})
    save(tmp_path / "a" / "UPPER.PNG", grey())
    save(tmp_path / "a" / "photo.JPeG", grey())
    (tmp_path / "a" / ".hidden.png").write_bytes(b"no image")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / ".git").mkdir()
    (tmp_path / "readme.md").write_text("")
    (tmp_path / "b" / "link.png").symlink_to(tmp_path / "a" / "00.png")
    made = content(tmp_path)
    assert len(made.train) + len(made.open_test()) == 13
    assert made.class_names == ("a", "b")


def test_grey_has_one_channel(tmp_path):
    array = grey()
    assert np.array_equal(pixels_of(tmp_path, array), array[..., np.newaxis])


def test_one_colour_image_makes_all_of_them_colour(tmp_path):
    for split in ("train", "test"):
        fill(tmp_path / split, {"a": 2, "b": 2})
    red = colour()
    save(tmp_path / "train" / "b" / "zz.png", red)
    made = content(tmp_path)
    assert made.train.pixels.shape == (5, 6, 5, 3)
    assert np.array_equal(made.train.pixels[4], red)
    first = np.asarray(Image.open(tmp_path / "train" / "a" / "00.png"))
    assert np.array_equal(made.train.pixels[0], np.stack([first] * 3, -1))
    assert made.open_test().pixels.shape == (4, 6, 5, 3)


def test_16_bit_grey_keeps_its_brightness(tmp_path):
    values = np.array([[0, 257, 128, 129], [65535, 32896, 65406, 65407]], np.uint16)
    assert pixels_of(tmp_path, values)[..., 0].tolist() == [[0, 1, 0, 1], [255, 128, 254, 255]]


def test_one_bit_images_are_black_and_white(tmp_path):
    assert pixels_of(tmp_path, np.array([[True, False]]))[..., 0].tolist() == [[255, 0]]


def test_palette_images_are_what_their_palette_says(tmp_path):
    source = tmp_path / "source.png"
    for palette, expected in (
        ([9, 9, 9, 70, 70, 70], [[[9], [70]]]),
        ([1, 2, 3, 4, 5, 6], [[[1, 2, 3], [4, 5, 6]]]),
    ):
        image = Image.new("P", (2, 1))
        image.putpalette(palette)
        image.putdata([0, 1])
        image.save(source)
        assert pixels_of(tmp_path / str(len(expected[0][0])), source).tolist() == expected


def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path):
    rgba = np.dstack((colour(), np.full((6, 5), 255, np.uint8)))
    assert np.array_equal(pixels_of(tmp_path / "opaque", rgba), rgba[..., :3])
    rgba[2, 3, 3] = 254
    with pytest.raises(UserError, match=r"a/0\.png: an image with transparent pixels"):
        pixels_of(tmp_path / "glass", rgba)
    with pytest.raises(UserError, match="transparent"):
        pixels_of(tmp_path / "grey glass", np.dstack((grey(), grey() // 2)))


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn a quarter clockwise
    array = grey(4, 7)
    source = save(tmp_path / "source.png", array, exif=exif)
    assert np.array_equal(pixels_of(tmp_path / "d", source)[..., 0], np.rot90(array, -1))


def truncated_png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey()).save(file, "png")
    return file.getvalue()[:60]


@pytest.mark.parametrize("damaged", [b"", b"not an image at all", truncated_png()])
def test_unreadable_image_is_named(tmp_path, damaged):
    for split in ("train", "test"):
        fill(tmp_path / split, {"a": 3, "b": 3})
    bad = tmp_path / "train" / "b" / "01.png"
    bad.write_bytes(damaged)
    with pytest.raises(UserError, match="unreadable image") as caught:
        content(tmp_path)
    assert str(bad) in str(caught.value)


def test_dangling_symlink_is_named(tmp_path):
    for split in ("train", "test"):
        fill(tmp_path / split, {"a": 3, "b": 3})
    (tmp_path / "train" / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match=r"gone\.png: unreadable image"):
        content(tmp_path)


def test_different_sizes_name_both_files(tmp_path):
    for split in ("train", "test"):
        fill(tmp_path / split, {"a": 3, "b": 3})
    odd = save(tmp_path / "train" / "b" / "02.png", grey(5, 6))
    with pytest.raises(UserError, match="different sizes; got '6 × 5 pixels'; expected 5 × 6") as caught:
        content(tmp_path)
    assert str(odd) in str(caught.value)
    assert str(tmp_path / "train" / "a" / "00.png") in str(caught.value)


def test_test_images_are_not_read_before_the_test_split_is_opened(tmp_path):
    for split in ("train", "test"):
        fill(tmp_path / split, {"a": 3, "b": 3})
    bad = tmp_path / "test" / "a" / "00.png"
    bad.write_bytes(b"garbage")
    made = content(tmp_path)
    with pytest.raises(UserError, match="unreadable image"):
        made.open_test()
    save(bad, colour())
    with pytest.raises(UserError, match="colour image in the test split"):
        made.open_test()
    save(bad, grey(9, 9))
    with pytest.raises(UserError, match="different sizes"):
        made.open_test()


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "no images here; got 'an empty folder'"),
        ({"only": 5}, "fewer than two class folders; got 'only, with 5 images'"),
        ({"a": 5, "b": 0}, "b: a class folder without images"),
        ({"a": 1, "b": 1}, "too few images"),
        ({"a": 40, "b": 1, "train": 1}, None),
        ({"train": 5, "test": 5}, "train: the train images have no classes"),
        ({"train": 5, "test": 5, "bus": 5}, "folders beside train and test; got 'bus'"),
    ],
)
def test_folders_of_the_wrong_shape(tmp_path, counts, said):
    fill(tmp_path, counts)
    for name in counts:
        (tmp_path / name).mkdir(exist_ok=True)
    if said is None:
        assert len(content(tmp_path).class_names) == 3
        return
    with pytest.raises(UserError, match=said):
        content(tmp_path)


def test_splits_with_other_classes(tmp_path):
    fill(tmp_path / "train", {"a": 3, "b": 3})
    fill(tmp_path / "test", {"a": 3, "c": 3})
    with pytest.raises(UserError, match=r"test: other classes than in .*train; got 'a, c'; expected a, b"):
        content(tmp_path)


def test_no_such_folder_and_no_path(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        content(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no path after folder:"):
        find_dataset("folder:")


def test_photographs_of_kinds_that_are_not_read_are_said_apart(tmp_path):
    folder = fill(tmp_path, {"a": 10, "b": 10})
    for name in ("IMG_1.HEIC", "IMG_2.dng", "Thumbs.db"):
        (folder / "a" / name).write_bytes(b"x")
    said = content(folder).notes
    assert said[0] == (
        "2 of the files left out are pictures of kinds that are not read; converted to PNG or JPEG they would count:"
        " a/IMG_1.HEIC, a/IMG_2.dng"
    )
    assert said[1].startswith("3 entries left out")
    for path in (folder / "b").iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(UserError, match=r"a class folder without images; got '10 files .* \(10 \.heic\)'"):
        content(folder)
