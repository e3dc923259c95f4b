"""Photographs of any size and kind become what Pillow, called by hand, makes of them."""

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from regulab.config import Data, build_study
from regulab.data import find_dataset
from regulab.data.formats.fitting import Fit
from regulab.data.formats.image_levels import read_levels
from regulab.errors import UserError

RANDOM = np.random.default_rng(4)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    coarse = Image.fromarray(noise(6, 8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def saved(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize(("height", "width"), [(50, 91), (91, 50), (20, 33), (64, 48)])
def test_crop_is_what_pillow_fits(tmp_path, height, width):
    array = noise(height, width)
    found = read_levels(saved(tmp_path / "a.png", array), Fit(32, 32)).array
    wanted = ImageOps.fit(Image.fromarray(array), (32, 32), Image.Resampling.BICUBIC)
    assert (
        np.abs(found.astype(int) - np.asarray(wanted)).max() <= 1
    )  # edges of the part differ in the last bit


def test_squash_is_one_resize(tmp_path):
    array = noise(50, 91)
    found = read_levels(saved(tmp_path / "a.png", array), Fit(20, 40, "squash")).array
    wanted = Image.fromarray(array).resize((40, 20), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found, np.asarray(wanted))


def test_pad_is_black_on_both_sides_of_a_resize(tmp_path):
    array = noise(30, 90) | 8  # nothing of it is black
    found = read_levels(saved(tmp_path / "a.png", array), Fit(30, 30, "pad")).array
    wanted = np.zeros((30, 30, 3), np.uint8)
    wanted[10:20] = np.asarray(Image.fromarray(array).resize((30, 10), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(found, wanted)


def test_an_image_of_this_size_keeps_its_pixels(tmp_path):
    array = noise(24, 31)
    for how in ("crop", "pad", "squash"):
        np.testing.assert_array_equal(
            read_levels(saved(tmp_path / "a.png", array), Fit(24, 31, how)).array, array
        )


def test_large_photographs_are_reduced_by_averages_first(tmp_path):
    """Neither the blocks nor the draft of a JPEG change more than a person could see."""
    array = smooth(1500, 2000)
    whole = ImageOps.fit(Image.fromarray(array), (64, 64), Image.Resampling.BICUBIC)
    for name, options in (("a.png", {}), ("a.jpg", {"quality": 95})):
        found = read_levels(saved(tmp_path / name, array, **options), Fit(64, 64)).array
        difference = np.abs(found.astype(int) - np.asarray(whole))
        assert difference.max() <= 6, name
        assert difference.mean() < 1, name


def corners(height: int, width: int) -> np.ndarray:
    """Red at the upper left, green at the upper right, blue at the lower left, white at the lower right."""
    array = np.zeros((height, width, 3), np.uint8)
    array[: height // 2, : width // 2] = (250, 0, 0)
    array[: height // 2, width // 2 :] = (0, 250, 0)
    array[height // 2 :, : width // 2] = (0, 0, 250)
    array[height // 2 :, width // 2 :] = (250, 250, 250)
    return array


UNDO = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", UNDO)
@pytest.mark.parametrize("how", ["crop", "pad", "squash"])
def test_every_orientation_stands_upright(tmp_path, orientation, how):
    """As the colours of its corners tell; wide and large, so that drafts and turned sizes take part."""
    upright, exif = corners(400, 1200), Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(UNDO[orientation](upright))
    path = saved(tmp_path / "a.jpg", stored, quality=95, exif=exif)
    levels = read_levels(path, Fit(24, 24, how))
    rows = (9, 14) if how == "pad" else (2, 21)  # of a picture three times as wide as high
    found = levels.array[np.ix_(rows, (2, 21))].astype(int)
    wanted = [[(250, 0, 0), (0, 250, 0)], [(0, 0, 250), (250, 250, 250)]]
    assert np.abs(found - np.array(wanted)).max() < 25
    assert levels.stored == (400, 1200)


def test_palette_cmyk_alpha_and_bits_are_resized_as_what_they_show(tmp_path):
    picture = Image.fromarray(smooth(60, 80))
    palette, cmyk = picture.convert("P", palette=Image.Palette.ADAPTIVE), picture.convert("CMYK")
    bits, opaque = picture.convert("1"), picture.convert("RGBA")
    for image, name, mode in (
        (palette, "p.png", "RGB"), (palette, "p.gif", "RGB"), (cmyk, "c.tif", "RGB"), (bits, "b.png", "L"),
        (opaque, "o.png", "RGB"), (picture, "w.webp", "RGB"),
    ):  # fmt: skip
        lossless: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
        image.save(tmp_path / name, **lossless)
        found = read_levels(tmp_path / name, Fit(20, 20, "squash")).array
        with Image.open(tmp_path / name) as again:
            wanted = np.asarray(again.convert(mode).resize((20, 20), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(found, wanted, err_msg=name)


def test_deep_levels_stay_within_their_image(tmp_path):
    array = RANDOM.integers(1000, 4000, (40, 60)).astype(np.uint16)
    path = saved(tmp_path / "a.png", array)
    found = read_levels(path, Fit(16, 16, "squash")).array
    wanted = Image.fromarray(array.astype(np.float32)).resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(found, np.asarray(wanted), rtol=1e-6)
    padded = read_levels(path, Fit(16, 16, "pad")).array
    assert padded.min() == array.min()
    assert padded.max() <= array.max()


def photographs(folder, **more):
    for split in ("train", "test"):
        for number, name in enumerate(("a", "b", "a", "b")):
            saved(folder / split / name / f"{number}.png", noise(30 + 9 * number, 40))
    for name, array in more.items():
        saved(folder / "train" / "a" / f"{name}.png", array)
    return folder


def loaded(folder, **keys):
    return find_dataset(Data(name=f"folder:{folder}", **keys)).load(folder)


def test_notes_say_what_was_done_and_to_how_many(tmp_path):
    made = loaded(photographs(tmp_path), size=[36, 32])
    assert made.train.pixels.shape == (4, 36, 32, 3)
    assert made.train.notes == (
        "training images of 4 sizes, 40 × 30 to 40 × 57 pixels, were brought to 32 × 36"
        " (crop: the shorter side first, then the middle cut out)",
        "1 of 4 training images are smaller than that, and were enlarged",
    )
    assert made.open_test().pixels.shape == (4, 36, 32, 3)
    assert made.train.files.tolist() == [
        "train/a/0.png",
        "train/a/2.png",
        "train/b/1.png",
        "train/b/3.png",
    ]


def test_different_sizes_name_the_cure(tmp_path):
    with pytest.raises(UserError, match=r"different sizes.*`size: 64` under `data`"):
        loaded(photographs(tmp_path))


def test_grey_of_16_bits_among_photographs_needs_a_declared_range(tmp_path):
    deep = np.array([[0, 257], [25700, 65535]], np.uint16)
    folder = photographs(tmp_path, deep=deep)
    with pytest.raises(UserError, match=r"different depths.*`range: \[0, 65535\]` under `data`"):
        loaded(folder, size=8)
    made = loaded(folder, size=8, range=[0, 65535])
    place = made.train.files.tolist().index("train/a/deep.png")
    wanted = Image.fromarray(deep.astype(np.float32)).resize((8, 8), Image.Resampling.BICUBIC)
    grey = np.rint(np.clip(np.asarray(wanted), 0, 65535) / 257)
    np.testing.assert_array_equal(made.train.pixels[place], np.repeat(grey[..., None], 3, 2))
    assert "1 of 5 training images have more than 8 bits: 0 to 65535 became 0 to 255" in made.train.notes


def test_8_bits_after_16_are_mixed_too(tmp_path):
    folder = photographs(tmp_path)
    saved(folder / "train" / "a" / "!first.png", np.array([[9, 65535]], np.uint16))
    with pytest.raises(UserError, match="different depths"):
        loaded(folder, size=8)
    assert loaded(folder, size=8, range=[0, 65535]).train.pixels.shape == (5, 8, 8, 3)
    saved(folder / "test" / "a" / "deep.png", np.array([[9, 65535]], np.uint16))
    assert len(loaded(folder, size=8, range=[0, 65535]).open_test()) == 5


def test_a_deep_test_image_among_8_bits_is_refused(tmp_path):
    folder = photographs(tmp_path)
    saved(folder / "test" / "a" / "deep.png", np.array([[9, 65535]], np.uint16))
    with pytest.raises(UserError, match=r"deep\.png: images of different depths"):
        loaded(folder, size=8).open_test()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"size": 0}, "size"),
        ({"size": -3}, "size"),
        ({"size": 5000}, "size"),
        ({"size": [64, 0]}, "size"),
        ({"size": [1, 2, 3]}, "size"),
        ({"size": 6.5}, "size"),
        ({"size": True}, "size"),
        ({"fit": "pad"}, "nothing to fit to"),
        ({"size": 8, "fit": "stretch"}, "fit"),
    ],
    ids=str,
)
def test_sizes_that_are_none(keys, said):
    with pytest.raises(UserError, match=said):
        build_study({"data": {"name": "folder:photos", **keys}})


def test_a_size_means_nothing_to_registered_datasets():
    with pytest.raises(UserError, match="size has no effect on the dataset digits"):
        find_dataset(Data(name="digits", size=32))


def test_studies_without_a_size_are_who_they_were():
    study = build_study({"data": "folder:photos"})
    assert "size" not in study.identity_content()["data"]
    assert "fit" not in study.to_yaml()
    square = build_study({"data": {"name": "folder:photos", "size": [32, 32]}})
    assert square.identity() == build_study({"data": {"name": "folder:photos", "size": 32}}).identity()
    assert square.identity() != study.identity()
