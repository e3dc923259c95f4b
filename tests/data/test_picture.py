import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regulab.data.formats.decoding import MOST_PIXELS
from regulab.data.picture import load_picture
from regulab.errors import UserError

RANDOM = np.random.default_rng(4)
GREY = RANDOM.integers(0, 256, (7, 5), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (7, 5, 3), dtype=np.uint8)
ORIENTATION = 0x0112


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares its size and has no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 9) + b"IDAT"


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "pgm"])
def test_grey(tmp_path, suffix):
    found = load_picture(saved(Image.fromarray(GREY), tmp_path / f"p.{suffix}"))
    np.testing.assert_allclose(found.levels, GREY / 255)
    assert found.depth == 8
    assert found.notes == ()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_colour(tmp_path, suffix):
    found = load_picture(saved(Image.fromarray(COLOUR), tmp_path / f"p.{suffix}"))
    np.testing.assert_allclose(found.levels, COLOUR / 255)


def test_colour_that_is_grey_everywhere(tmp_path):
    found = load_picture(saved(Image.fromarray(GREY).convert("RGB"), tmp_path / "p.png"))
    np.testing.assert_allclose(found.levels, GREY / 255)


def test_palette(tmp_path):
    image = Image.fromarray(COLOUR).quantize(6)
    expected = np.asarray(image.convert("RGB")) / 255
    np.testing.assert_allclose(load_picture(saved(image, tmp_path / "p.png")).levels, expected)


def test_black_and_white(tmp_path):
    bits = Image.fromarray(GREY > 127)
    np.testing.assert_allclose(load_picture(saved(bits, tmp_path / "p.png")).levels, GREY > 127)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_keeps_its_levels(tmp_path, suffix):
    deep = RANDOM.integers(0, 65536, (6, 9), dtype=np.uint16)
    found = load_picture(saved(Image.fromarray(deep), tmp_path / f"p.{suffix}"))
    assert np.array_equal(np.rint(found.levels * 65535), deep)
    assert found.depth == 16


def test_floating_levels_need_the_range_0_to_1(tmp_path):
    levels = RANDOM.random((3, 4), np.float32)
    found = load_picture(saved(Image.fromarray(levels), tmp_path / "p.tif"))
    np.testing.assert_allclose(found.levels, levels)
    for wrong in (levels * 3, levels - 1, np.full((2, 2), np.nan, np.float32)):
        with pytest.raises(UserError, match="known range"):
            load_picture(saved(Image.fromarray(wrong), tmp_path / "wrong.tif"))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_laid_on_white(tmp_path, mode):
    alpha = np.array([[0, 128, 255]], np.uint8)
    base = np.full((1, 3), 100, np.uint8)
    layers = [Image.fromarray(base)] * (len(mode) - 1) + [Image.fromarray(alpha)]
    found = load_picture(saved(Image.merge(mode, layers), tmp_path / "p.png"))
    expected = (alpha * 100.0 + (255 - alpha) * 255.0) / 255**2
    np.testing.assert_allclose(found.levels, expected, atol=0.6 / 255)
    assert "white" in found.notes[0]


def test_an_opaque_alpha_channel_changes_nothing(tmp_path):
    found = load_picture(saved(Image.fromarray(COLOUR).convert("RGBA"), tmp_path / "p.png"))
    np.testing.assert_allclose(found.levels, COLOUR / 255)
    assert found.notes == ()


def test_a_transparent_palette(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    found = load_picture(saved(image, tmp_path / "p.gif", transparency=0))
    np.testing.assert_allclose(found.levels * 255, [[[255, 255, 255], [200, 100, 50]]])


def test_cmyk(tmp_path):
    image = Image.fromarray(np.full((9, 9, 3), (200, 60, 30), np.uint8)).convert("CMYK")
    found = load_picture(saved(image, tmp_path / "p.jpg", quality=95))
    np.testing.assert_allclose(found.levels.mean((0, 1)) * 255, (200, 60, 30), atol=4)
    assert "CMYK" in found.notes[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    stored = GREY
    turned = {1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.T}
    turned |= {6: stored.T[:, ::-1], 7: stored.T[::-1, ::-1], 8: stored.T[::-1]}
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    found = load_picture(saved(Image.fromarray(stored), tmp_path / "p.png", exif=exif))
    np.testing.assert_allclose(found.levels, turned[orientation] / 255)
    assert bool(found.notes) == (orientation > 1)


@pytest.mark.parametrize("suffix", ["gif", "png", "tif"])
def test_of_an_animation_the_first_frame(tmp_path, suffix):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    found = load_picture(saved(frames[0], tmp_path / f"p.{suffix}", save_all=True, append_images=frames[1:]))
    np.testing.assert_allclose(found.levels, GREY / 255)
    assert "2 frames" in found.notes[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_the_smallest(tmp_path, size):
    found = load_picture(saved(Image.new("L", size, 51), tmp_path / "p.png"))
    assert found.levels.shape == size[::-1]
    np.testing.assert_allclose(found.levels, 0.2)


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_a_large_one_is_averaged_down(tmp_path, mode):
    array = RANDOM.integers(0, 256, (70, 250)).astype(np.uint16 if mode == "I;16" else np.uint8)
    found = load_picture(saved(Image.fromarray(array), tmp_path / "p.png"), longest=100)
    assert found.levels.shape == (24, 84), "3 × 3 squares, the last ones cut"
    scale = 65535 if mode == "I;16" else 255
    assert found.levels[2, 5] * scale == pytest.approx(array[6:9, 15:18].mean(), abs=0.51)
    assert "250 × 70 to 84 × 24" in found.notes[0]


def test_a_huge_one_is_refused_before_a_pixel_is_read(tmp_path):
    for width, height in ((20_000, 20_000), (10_000, MOST_PIXELS // 10_000 + 1)):
        path = tmp_path / "p.png"
        path.write_bytes(png_header(width, height))
        with pytest.raises(UserError, match="too large"):
            load_picture(path)


def test_a_damaged_one_names_the_file(tmp_path):
    buffer = io.BytesIO()
    noise = RANDOM.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    path = tmp_path / "cut.png"
    for share in (0.02, 0.3, 0.9):
        path.write_bytes(buffer.getvalue()[: int(share * buffer.tell())])
        with pytest.raises(UserError, match=r"cut\.png"):
            load_picture(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_no_picture(tmp_path, content):
    path = tmp_path / "notes.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a picture"):
        load_picture(path)


def test_missing_and_folder(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_picture(tmp_path / "none.png")
    with pytest.raises(UserError, match="not a file"):
        load_picture(tmp_path)
    with pytest.raises(UserError, match="unreadable"):
        load_picture(tmp_path / ("x" * 5000))


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = saved(Image.fromarray(GREY), tmp_path / "p.png")

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        load_picture(path)
