"""Wrong images that take much room stay in their file, in records as in memory; damage is noticed all the same."""

import numpy as np
import pytest

from regulab.data.stored_pixels import StoredPixels
from regulab.errors import UserError
from regulab.records import Mistakes
from regulab.run_directory import arrays, writing
from regulab.run_directory.arrays import read_npz
from regulab.run_directory.stored_images import StoredImages
from regulab.run_directory.writing import RunDirectory
from tests.samples import STUDY

IMAGES = np.random.default_rng(4).integers(0, 256, (7, 5, 4, 3), np.uint8)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A ``mistakes.npz`` whose images, 420 bytes, count as many, written from rows of a mapped file."""
    for module in (arrays, writing):
        monkeypatch.setattr(module, "ALWAYS", 400)
    pixels = StoredPixels(IMAGES[::-1].copy()).chosen(np.arange(7)[::-1].copy())
    with RunDirectory.open(tmp_path / "run", STUDY, fresh=False) as directory:
        directory.write_mistakes(
            Mistakes(indices=np.arange(7) * 2, images=pixels, files=np.array(list("abcdefg")))
        )
    return tmp_path / "run" / "mistakes.npz"


def test_they_are_read_where_they_lie(path):
    found = read_npz(path, Mistakes)
    assert isinstance(found.images, StoredImages)
    assert found.images.shape == IMAGES.shape
    assert np.array_equal(found.images, IMAGES)
    assert np.array_equal(found.image(6), IMAGES[3])
    assert np.array_equal(found.images[2:5], IMAGES[2:5])
    assert np.array_equal(found.images[np.array([5, 0])], IMAGES[[5, 0]])
    assert found.file(6) == "d"
    with np.load(path) as loaded:
        assert np.array_equal(loaded["images"], IMAGES)


def test_few_are_compressed_and_in_memory(path, monkeypatch):
    monkeypatch.setattr(arrays, "ALWAYS", 600)
    found = read_npz(path, Mistakes)
    assert isinstance(found.images, np.ndarray)
    assert np.array_equal(found.images, IMAGES)


def test_a_changed_pixel_is_noticed(path):
    content = bytearray(path.read_bytes())
    content[content.index(IMAGES[2].tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged.*CRC"):
        read_npz(path, Mistakes)


@pytest.mark.parametrize("shape", [(7, 5, 4, 4), (6, 5, 4, 3), (-7, -5, 4, 3)], ids=str)
def test_a_shape_that_is_not_that_of_the_bytes_is_refused(path, shape):
    content = path.read_bytes()
    old, new = b"(7, 5, 4, 3)", repr(shape).encode()
    path.write_bytes(content.replace(old + b", }" + b" " * (len(new) - len(old)), new + b", }"))
    with pytest.raises(UserError, match="damaged"):
        read_npz(path, Mistakes)


def test_a_file_that_was_replaced_since_is_not_read(path):
    found = read_npz(path, Mistakes)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UserError, match="changed while it was read"):
        found.image(0)


def test_a_part_that_claims_too_much_is_refused(path, monkeypatch):
    monkeypatch.setattr(arrays, "MOST_FILE", 16)
    with pytest.raises(UserError, match="damaged: a part claims"):
        read_npz(path, Mistakes)
