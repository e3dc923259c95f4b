"""Arrays in ``.npz``: bytes that follow from the arrays, whatever is in memory of them."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest

from regulab import npz
from regulab.data.stored_pixels import StoredPixels
from regulab.npz import npz_bytes, write_npz

RANDOM = np.random.default_rng(3)


def as_one(arrays):
    """What `npz_bytes` gave while it compressed an array in one go: run directories of then and of now are equal."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(entry, content.getvalue())
    return buffer.getvalue()


@pytest.mark.parametrize("part", [1, 1000, 2**22])
def test_parts_give_the_bytes_of_the_whole(part, monkeypatch):
    arrays: dict[str, Any] = {
        "images": np.kron(RANDOM.integers(0, 256, (50, 7, 5, 3), np.uint8), np.ones((1, 2, 2, 1), np.uint8)),
        "noise": RANDOM.integers(0, 256, (300, 700), np.uint8),
        "turned": np.arange(12, dtype=np.int64).reshape(3, 4).T,
        "every other": np.arange(9.0)[::2],
        "files": np.array(["a/ä.png", "b"]),
        "none": np.zeros((0, 4, 4, 1), np.uint8),
        "one": np.float32(3),
    }
    monkeypatch.setattr(npz, "PART_BYTES", part)
    assert npz_bytes(arrays) == as_one(arrays)


def test_rows_of_a_file_are_written_as_the_array_is(monkeypatch):
    array = RANDOM.integers(0, 256, (20, 6, 4, 3), np.uint8)
    rows = RANDOM.permutation(20)[:11]
    monkeypatch.setattr(npz, "PART_BYTES", 200)
    buffer = io.BytesIO()
    write_npz(buffer, {"images": StoredPixels(array).chosen(rows)})
    assert buffer.getvalue() == npz_bytes({"images": array[rows]})


def test_what_is_plain_stands_in_the_file_as_it_is():
    arrays: dict[str, Any] = {
        "images": np.arange(240, dtype=np.uint8).reshape(5, 4, 4, 3),
        "indices": np.arange(5),
    }
    buffer = io.BytesIO()
    write_npz(buffer, arrays, {"images"})
    assert arrays["images"].tobytes() in buffer.getvalue()
    buffer.seek(0)
    with np.load(buffer) as loaded:
        assert all(np.array_equal(loaded[name], array) for name, array in arrays.items())


def test_objects_are_refused():
    with pytest.raises(ValueError, match="objects"):
        npz_bytes({"a": np.array([{}], object)})
