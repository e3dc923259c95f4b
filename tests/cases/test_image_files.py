"""Images as they come: formats, modes, levels of any depth, and what is left out, each with the right pixel values."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regulab.config import Data, Protocol, build_study
from regulab.data import find_dataset, load
from regulab.data.dataset import Images
from regulab.errors import UserError

from .making_images import RANDOM, fill, noise, save, with_splits

COLOUR = RANDOM.integers(0, 256, (6, 5, 3), dtype=np.uint8)
GREY = RANDOM.integers(0, 256, (6, 5), dtype=np.uint8)


def folder_of(path: Path, train: list[np.ndarray], test: list[np.ndarray], suffix: str = "png") -> Path:
    """The first image of every list is a cat, the others are dogs."""
    for part, arrays in (("train", train), ("test", test)):
        for number, array in enumerate(arrays):
            save(path / part / ("dog" if number else "cat") / f"{number}.{suffix}", array)
    return path


def read(path: Path, levels: tuple[float, float] | None = None) -> tuple[Images, Images, tuple[str, ...]]:
    content = find_dataset(Data(name=f"folder:{path}", range=levels)).load(path)
    test = content.open_test()
    return content.train, test, (*content.notes, *content.train.notes, *test.notes)


def pixels_of(path: Path, image: Image.Image, suffix: str, **options: Any) -> np.ndarray:
    """What becomes of an image that is all of a dataset."""
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (path / part / name).mkdir(parents=True)
            image.save(path / part / name / f"0.{suffix}", **options)
    train, test, _ = read(path)
    assert np.array_equal(train.pixels, test.pixels)
    return train.pixels[0]


def same(pixels: np.ndarray, expected: np.ndarray) -> None:
    assert np.array_equal(pixels, expected if expected.ndim == 3 else expected[..., np.newaxis])


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "TIFF", "gif", "pgm", "webp", "jp2", "Png", "WEBP"])
def test_grey_of_every_format(tmp_path, suffix):
    options = {"lossless": True} if suffix.lower() == "webp" else {}
    same(pixels_of(tmp_path, Image.fromarray(GREY), suffix, **options), GREY)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp", "jp2"])
def test_colour_of_every_format(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    same(pixels_of(tmp_path, Image.fromarray(COLOUR), suffix, **options), COLOUR)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "jfif", "JPG"])
def test_jpeg(tmp_path, suffix):
    plain = np.full((6, 5, 3), (200, 60, 30), np.uint8)
    found = pixels_of(tmp_path, Image.fromarray(plain), suffix, format="JPEG", quality=95)
    assert np.abs(found.astype(int) - plain).max() <= 3


def test_formats_in_one_folder(tmp_path):
    with_splits(tmp_path, train=1, test=1)
    for suffix in ("bmp", "tif", "webp", "gif"):
        options = {"lossless": True} if suffix == "webp" else {}
        save(tmp_path / "train" / "cat" / f"a.{suffix}", noise(), **options)
    train, _, notes = read(tmp_path)
    assert train.pixels.shape == (6, 8, 8, 1)
    assert notes == ()


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
def test_of_several_frames_the_first(tmp_path, suffix):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    options = {"lossless": True} if suffix == "webp" else {}
    same(pixels_of(tmp_path, frames[0], suffix, save_all=True, append_images=frames[1:], **options), GREY)
    _, _, notes = read(tmp_path)
    assert notes == (
        "2 of 2 training images hold several frames, of which the first counts",
        "2 of 2 test images hold several frames, of which the first counts",
    )


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, suffix, orientation):
    stored = GREY
    turned = {1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.T}
    turned |= {6: stored.T[:, ::-1], 7: stored.T[::-1, ::-1], 8: stored.T[::-1]}
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    same(pixels_of(tmp_path, Image.fromarray(stored), suffix, exif=exif, **options), turned[orientation])


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_orientation_of_photos(tmp_path, orientation):
    """As cameras write it; JPEG is exact to a few levels where an image is smooth."""
    stored = np.add.outer(np.arange(16) * 9, np.arange(24) * 4).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = pixels_of(tmp_path, Image.fromarray(stored), "jpg", exif=exif, quality=98)
    expected = {3: stored[::-1, ::-1], 6: stored.T[:, ::-1], 8: stored.T[::-1]}[orientation]
    assert np.abs(found[..., 0].astype(int) - expected).max() <= 4


def test_orientation_of_deep_images(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = GREY.astype(np.uint16)
    deep[0, :2] = 0, 255
    same(pixels_of(tmp_path, Image.fromarray(deep), "png", exif=exif), deep.T[:, ::-1])


def test_modes(tmp_path):
    """Palettes, alpha that hides nothing, CMYK, one bit, YCbCr."""
    opaque = Image.new("L", (5, 6), 255)
    palette = Image.fromarray(COLOUR).quantize(4)
    greys = Image.fromarray(GREY).convert("P")
    ycc = Image.fromarray(COLOUR).convert("YCbCr")
    cases = [
        ("png", palette, np.asarray(palette.convert("RGB"))),
        ("gif", palette, np.asarray(palette.convert("RGB"))),
        ("png", greys, GREY),
        ("png", Image.merge("LA", [Image.fromarray(GREY), opaque]), GREY),
        ("tif", Image.merge("RGBA", [*Image.fromarray(COLOUR).split(), opaque]), COLOUR),
        ("webp", Image.merge("RGBA", [*Image.fromarray(COLOUR).split(), opaque]), COLOUR),
        ("png", Image.fromarray(GREY > 127), np.where(GREY > 127, 255, 0)),
        ("tif", Image.fromarray(GREY > 127), np.where(GREY > 127, 255, 0)),
        ("pbm", Image.fromarray(GREY > 127), np.where(GREY > 127, 255, 0)),
        ("tif", ycc, np.asarray(ycc.convert("RGB"))),
    ]
    for number, (suffix, image, expected) in enumerate(cases):
        options = {"lossless": True} if suffix == "webp" else {}
        same(pixels_of(tmp_path / str(number), image, suffix, **options), expected)


def test_cmyk(tmp_path):
    """C = 255 − R and so on, without black: back again exactly."""
    same(pixels_of(tmp_path, Image.fromarray(COLOUR).convert("CMYK"), "tif"), COLOUR)
    assert "2 of 2 training images are CMYK, converted without a colour profile" in read(tmp_path)[2]


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "I;16"])
def test_transparent_pixels_are_refused(tmp_path, kind):
    path = with_splits(tmp_path) / "train" / "cat" / "00.png"
    clear = np.full((8, 8), 255, np.uint8)
    clear[3, 3] = 254
    if kind == "P":
        Image.fromarray(noise()).convert("P").point(lambda v: v % 4).save(path, transparency=1)
    elif kind == "I;16":
        for image in tmp_path.glob("*/*/*.png"):
            save(image, noise().astype(np.uint16) * 9)
        deep = noise().astype(np.uint16)
        Image.fromarray(deep).save(path, transparency=int(deep[2, 2]))
    else:
        Image.merge(kind, [Image.fromarray(a) for a in (*[noise()] * (len(kind) - 1), clear)]).save(path)
    with pytest.raises(UserError, match=r"train/cat/00\.png: an image with transparent pixels"):
        read(tmp_path)


# ----------------------------------------------------------------------------------------- levels of 16 and 32 bits


def expected_bytes(levels: np.ndarray, low: float, high: float) -> np.ndarray:
    share = (np.asarray(levels, np.float64) - low) / (high - low)
    return np.clip(np.floor(share * 255 + 0.5), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("top", [255, 1023, 4095, 16383, 65535])
def test_few_bits_in_files_of_16(tmp_path, suffix, top):
    """The training part's least and greatest level become black and white, and nothing becomes black by its file."""
    train = [RANDOM.integers(0, top + 1, (6, 5)).astype(np.uint16) for _ in range(4)]
    train[0][0, 0], train[3][5, 4] = 0, top
    test = [RANDOM.integers(0, top + 1, (6, 5)).astype(np.uint16) for _ in range(2)]
    found, tested, notes = read(folder_of(tmp_path, train, test, suffix))
    same(found.pixels[..., 0], expected_bytes(np.stack(train), 0, top)[..., 0:5])
    assert np.array_equal(tested.pixels[..., 0], expected_bytes(np.stack(test), 0, top))
    assert notes == (f"levels from 0 to {top:g}, those of the training part, became 0 to 255 in every image",)


def test_a_narrow_band_far_from_black(tmp_path):
    """A thermal camera: hundredths of a kelvin, some 30,000 of them."""
    train = [RANDOM.integers(29_500, 30_500, (6, 5)).astype(np.uint16) for _ in range(4)]
    low, high = int(np.min(train)), int(np.max(train))
    found, _, _ = read(folder_of(tmp_path, train, train[:2], "tif"))
    assert np.array_equal(found.pixels[..., 0], expected_bytes(np.stack(train), low, high))
    assert found.pixels.min() == 0
    assert found.pixels.max() == 255


def test_the_range_is_that_of_the_training_part_alone(tmp_path):
    """Levels beyond it, in validation and test images, become the nearer end, and are counted."""
    train = [np.array([[100, 200]], np.uint16), np.array([[150, 300]], np.uint16)]
    test = [np.array([[0, 400]], np.uint16), np.array([[100, 300]], np.uint16)]
    folder_of(tmp_path, train, test)
    save(tmp_path / "val" / "cat" / "0.png", np.array([[50, 250]], np.uint16))
    save(tmp_path / "val" / "dog" / "0.png", np.array([[1000, 100]], np.uint16))
    found, tested, notes = read(tmp_path)
    assert found.pixels[..., 0].tolist() == [[[0, 128]], [[64, 255]], [[0, 191]], [[255, 0]]]
    assert tested.pixels[..., 0].tolist() == [[[0, 255]], [[0, 255]]]
    assert notes == (
        "levels from 100 to 300, those of the training part, became 0 to 255 in every image",
        "2 of 4 training images hold levels beyond that range; they were cut to it",
        "1 of 2 test images hold levels beyond that range; they were cut to it",
    )


def test_a_declared_range(tmp_path):
    train = [np.array([[0, 1000]], np.uint16), np.array([[2000, 4095]], np.uint16)]
    folder_of(tmp_path, train, train)
    found, tested, notes = read(tmp_path, (0, 4095))
    assert found.pixels[..., 0].tolist() == [[[0, 62]], [[125, 255]]]
    assert np.array_equal(found.pixels, tested.pixels)
    assert notes == ("levels from 0 to 4095, as declared, became 0 to 255 in every image",)
    data = build_study(
        {"data": {"name": f"folder:{tmp_path}", "range": [0, 4095]}, "arms": {"none": {}}}
    ).data
    assert data.range == (0, 4095)
    content = find_dataset(data).load(tmp_path)
    assert np.array_equal(content.train.pixels, found.pixels)


@pytest.mark.parametrize("wrong", [[4095, 0], [5, 5], [0], [0, 1, 2], ["a", 3], [-1e308, 1e308], 7])
def test_a_range_that_is_none(wrong):
    with pytest.raises(UserError, match=r"data\.range"):
        build_study({"data": {"name": "folder:x", "range": wrong}, "arms": {"none": {}}})


def test_a_range_without_effect_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"data\.range: a range has no effect on 8-bit levels"):
        read(with_splits(tmp_path), (0, 4095))
    with pytest.raises(UserError, match=r"data\.range: range has no effect on the dataset digits"):
        load(Data(name="digits", range=(0, 16)), Protocol(), tmp_path)


def test_a_range_that_leaves_most_of_it_out_is_refused(tmp_path):
    train = [RANDOM.integers(20_000, 40_000, (6, 5)).astype(np.uint16) for _ in range(2)]
    folder_of(tmp_path, train, train)
    with pytest.raises(UserError, match=r"data\.range: most levels .* lie outside .*got '0 to 4095'"):
        read(tmp_path, (0, 4095))


def test_levels_of_32_bits(tmp_path):
    train = [RANDOM.integers(-70_000, 70_000, (6, 5)).astype(np.int32) for _ in range(3)]
    low, high = int(np.min(train)), int(np.max(train))
    found, _, _ = read(folder_of(tmp_path, train, train, "tif"))
    assert np.array_equal(found.pixels[..., 0], expected_bytes(np.stack(train), low, high))


@pytest.mark.parametrize("suffix", ["tif", "pfm"])
def test_floats(tmp_path, suffix):
    train = [RANDOM.normal(size=(6, 5)).astype(np.float32) for _ in range(3)]
    low, high = float(np.min(train)), float(np.max(train))
    found, _, _ = read(folder_of(tmp_path, train, train, suffix))
    assert np.array_equal(found.pixels[..., 0], expected_bytes(np.stack(train), low, high))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_floats_that_are_not_finite_are_refused(tmp_path, wrong):
    train = [RANDOM.normal(size=(6, 5)).astype(np.float32) for _ in range(3)]
    train[1][2, 3] = wrong
    with pytest.raises(UserError, match=r"dog/1\.tif: levels that are not finite; got '1 of 30'"):
        read(folder_of(tmp_path, train, train[:1] * 2, "tif"))


def test_deep_images_without_contrast_are_refused(tmp_path):
    flat = [np.full((6, 5), 700, np.uint16)] * 2
    with pytest.raises(UserError, match="all levels of the training images are equal; got '700'"):
        read(folder_of(tmp_path, flat, flat))


def test_a_dead_pixel_is_told_of(tmp_path):
    """One level of 65,535 in 12-bit images leaves the others 16 of 255 steps: not silently."""
    train = [RANDOM.integers(0, 4096, (20, 20)).astype(np.uint16) for _ in range(3)]
    train[1][7, 7] = 65_535
    _, _, notes = read(folder_of(tmp_path, train, train[:1] * 2))
    (note,) = (note for note in notes if note.startswith("98 %"))
    assert re.search(r"share 1[56] of 255 steps; .* declare a narrower data\.range", note)


@pytest.mark.parametrize("other", ["8 bits", "colour", "float"])
def test_depths_are_not_mixed(tmp_path, other):
    deep = [RANDOM.integers(0, 4096, (6, 5)).astype(np.uint16) for _ in range(3)]
    folder_of(tmp_path, deep, deep, "tif")
    depths: dict[str, np.ndarray] = {"8 bits": GREY, "colour": COLOUR, "float": GREY.astype(np.float32)}
    path = save(tmp_path / "train" / "dog" / "zz.tif", depths[other])
    with pytest.raises(UserError, match="images of different depths") as caught:
        read(tmp_path)
    assert str(path) in str(caught.value)
    assert str(tmp_path / "train" / "cat" / "0.tif") in str(caught.value)


def tiff(array: np.ndarray, photometric: int = 1, sample_format: int = 1) -> bytes:
    """An uncompressed TIFF, little- or big-endian as the array is; Pillow writes neither all of these."""
    order = ">" if array.dtype.byteorder == ">" else "<"
    height, width, samples = *array.shape[:2], 1 if array.ndim == 2 else array.shape[2]
    bits, data = 8 * array.itemsize, array.tobytes()
    entries = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 0),
        (277, samples),
    ]
    entries += [(278, height), (279, len(data)), (339, sample_format)]
    start = 8 + 2 + 12 * len(entries) + 4
    widths = struct.pack(f"{order}{samples}H", *[bits] * samples) if samples > 1 else b""
    body = struct.pack(f"{order}H", len(entries))
    for tag, value in entries:
        count, packed = 1, struct.pack(f"{order}I", value)
        if tag == 273:
            packed = struct.pack(f"{order}I", start + len(widths))
        if tag == 258 and samples > 1:
            count, packed = samples, struct.pack(f"{order}I", start)
        kind = 4 if tag in (273, 279) else 3
        if kind == 3 and count == 1:
            packed = struct.pack(f"{order}HH", value, 0)
        body += struct.pack(f"{order}HHI", tag, kind, count) + packed
    mark = b"MM" if order == ">" else b"II"
    return mark + struct.pack(f"{order}HI", 42, 8) + body + struct.pack(f"{order}I", 0) + widths + data


def write_all(path: Path, content: bytes) -> Path:
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (path / part / name).mkdir(parents=True)
            (path / part / name / "0.tif").write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("dtype", "sample_format", "low", "high"),
    [
        ("<u2", 1, 0, 65536),
        (">u2", 1, 0, 65536),
        ("<i2", 2, -32768, 32768),
        ("<u4", 1, 2_000_000_000, 4_294_967_295),  # Pillow shows these as negative
        ("<i4", 2, -(2**31), 2**31 - 1),
    ],
)
def test_integers_of_a_tiff(tmp_path, dtype, sample_format, low, high):
    levels = RANDOM.integers(low, high, (6, 5)).astype(dtype)
    found, _, _ = read(write_all(tmp_path, tiff(levels, sample_format=sample_format)))
    assert np.array_equal(
        found.pixels[0, ..., 0], expected_bytes(levels, float(levels.min()), float(levels.max()))
    )


def test_white_as_zero(tmp_path):
    """8 bits: turned round. 16 bits: Pillow would not, so refused."""
    same(read(write_all(tmp_path / "8", tiff(GREY, photometric=0)))[0].pixels[0], 255 - GREY)
    with pytest.raises(UserError, match=r"0\.tif: a TIFF of more than 8 bits in which white is 0"):
        read(write_all(tmp_path / "16", tiff(GREY.astype("<u2"), photometric=0)))


def png_of_16_bit_colours(array: np.ndarray) -> bytes:
    """Pillow writes none."""
    import zlib

    height, width, _ = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
    ]
    chunks = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (*parts, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("make", [png_of_16_bit_colours, lambda a: tiff(a.astype("<u2"), photometric=2)])
def test_colours_of_16_bits(tmp_path, make):
    """Their upper 8 bits where they use them; 12-bit colours in such files would be black, and are refused."""
    full = RANDOM.integers(0, 65536, (6, 5, 3))
    full[0, 0] = 65535
    found, _, notes = read(write_all(tmp_path / "full", make(full)))
    same(found.pixels[0], full >> 8)
    assert "2 of 2 training images have colours of 16 bits, of which the upper 8 count" in notes
    with pytest.raises(UserError, match=r"0\.tif: colours of 16 bits that hold fewer"):
        read(write_all(tmp_path / "dark", make(full >> 4)))


# ------------------------------------------------------------------------------------------------ what is left out


def test_what_is_left_out_is_counted_and_named(tmp_path):
    fill(tmp_path, {"cat": 6, "dog": 6})
    for name in (
        "cat/.hidden.png",
        "cat/notes.txt",
        "dog/Thumbs.db",
        "readme.md",
        "dog/no_suffix",
        "cat/a.svg",
    ):
        (tmp_path / name).write_text("no image")
    (tmp_path / ".git").mkdir()
    save(tmp_path / "loose.png", noise())
    train, test, notes = read(tmp_path)
    assert len(train) + len(test) == 12
    assert notes == (
        "1 of the files left out is a picture of a kind that is not read; converted to PNG or JPEG it would count:"
        " cat/a.svg",
        "8 entries left out (hidden, not in a class folder, or no image by the name): .git/, cat/.hidden.png,"
        " cat/a.svg, cat/notes.txt, dog/Thumbs.db and 3 more",
    )


def test_nothing_to_say_of_a_clean_folder(tmp_path):
    assert read(fill(tmp_path, {"cat": 6, "dog": 6}))[2] == ()


def test_images_in_folders_below_a_class(tmp_path):
    fill(tmp_path / "train" / "cat", {"kitten": 2, "old": 1})
    fill(tmp_path / "train", {"cat": 1, "dog": 2})
    fill(tmp_path / "test", {"cat": 1, "dog": 1})
    save(tmp_path / "train" / "dog" / "a" / "b" / "c" / "deep.TIF", noise())
    train, _, notes = read(tmp_path)
    assert train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    order = ["cat/00.png", "cat/kitten/00.png", "cat/kitten/01.png", "cat/old/00.png"]
    order += ["dog/00.png", "dog/01.png", "dog/a/b/c/deep.TIF"]
    for pixels, name in zip(train.pixels[:], order, strict=True):
        same(pixels, np.asarray(Image.open(tmp_path / "train" / name)))
    assert notes == ("4 images lie in folders below a class folder, and count for the class",)


@pytest.mark.parametrize(
    "places",
    [
        ("cat/train", "cat/test", "dog/train", "dog/test"),
        ("TRAIN/x", "other/y"),
    ],
)
def test_parts_of_the_data_are_not_taken_for_classes(tmp_path, places):
    for place in places:
        fill(tmp_path / place, {".": 5})
    with pytest.raises(UserError, match="a part of the data where a class belongs") as caught:
        read(tmp_path)
    assert "PATH/train and PATH/test" in str(caught.value)


def test_a_link_to_an_image_is_one(tmp_path):
    fill(tmp_path, {"cat": 5, "dog": 5})
    (tmp_path / "dog" / "link.png").symlink_to(tmp_path / "cat" / "00.png")
    (tmp_path / "dog" / "more").symlink_to(
        fill(tmp_path.parent / f"{tmp_path.name}-else", {"all": 2}) / "all"
    )
    train, test, _ = read(tmp_path)
    assert len(train) + len(test) == 13
