"""Decoded images are kept, found again, never wrong, and gone without where there is no place."""

import errno
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from regulab.cli import app
from regulab.config import Data, Protocol
from regulab.data import find_dataset, load
from regulab.data.dataset import Images
from regulab.data.formats import image_cache, image_stack, in_order
from regulab.data.formats.image_levels import read_levels
from regulab.data.preprocessing import fit
from regulab.data.reading_shown import reading_shown
from regulab.data.regular_file import most_bytes
from regulab.data.room import InMemory, OnDisk
from regulab.data.stored_pixels import StoredPixels
from regulab.errors import UserError
from regulab.terminal.consoles import size

RANDOM = np.random.default_rng(8)


@pytest.fixture(autouse=True)
def _worth(monkeypatch, tmp_path):
    monkeypatch.setattr(image_cache, "WORTH_FILES", 1)
    monkeypatch.setenv("REGULAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path):
    for split in ("train", "test"):
        for name in ("a", "b"):
            for number in range(6):
                path = tmp_path / "photos" / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(RANDOM.integers(0, 256, (9 + number, 8, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


class Heard:
    def __init__(self, path, **keys):
        self.said: list[str] = []
        with reading_shown(None, self.said.append):
            self.splits = load(Data(name=f"folder:{path}", **({"size": 6} | keys)), Protocol(), path)
        self.test = self.splits.open_test()


@pytest.fixture
def decoded(monkeypatch):
    """Counts how many images were decoded."""
    paths = []
    real = read_levels

    def read(path, *arguments, **keywords):
        paths.append(path)
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(image_stack, "read_levels", read)
    return paths


def cached(tmp_path) -> list[Path]:
    return sorted((tmp_path / "cache").iterdir())


def same(one: Images, other: Images) -> bool:
    return np.array_equal(one.pixels[:], other.pixels[:]) and np.array_equal(one.labels, other.labels)


def test_nothing_is_decoded_twice(photos, tmp_path, decoded):
    first = Heard(photos)
    assert len(decoded) == 24
    assert {path.suffix for path in cached(tmp_path)} == {".images"}
    again = Heard(photos)
    assert len(decoded) == 24
    assert isinstance(again.splits.train.pixels, StoredPixels)
    assert same(first.splits.train, again.splits.train)
    assert same(first.test, again.test)
    assert first.splits.notes == again.splits.notes
    assert first.splits.content_hash == again.splits.content_hash
    assert [path for path, _ in image_cache.cached_files()] == cached(tmp_path)


def test_the_cache_changes_no_byte(photos, monkeypatch):
    kept = Heard(photos)
    monkeypatch.setattr(image_cache, "WORTH_FILES", 10_000)
    plain = Heard(photos)
    assert isinstance(plain.splits.train.pixels, np.ndarray)
    for part in ("train", "validation"):
        mine, wanted = getattr(kept.splits, part), getattr(plain.splits, part)
        assert same(mine, wanted)
        assert mine.content_hash() == wanted.content_hash()
        assert mine.files.tolist() == wanted.files.tolist()
    assert kept.splits.index_hash == plain.splits.index_hash
    assert kept.splits.content_hash == plain.splits.content_hash
    assert kept.splits.seal == plain.splits.seal or kept.splits.seal.digests == plain.splits.seal.digests
    for normalize in ("dataset", "pixel"):
        one, other = (fit(each.splits.train, normalize) for each in (kept, plain))
        assert np.array_equal(one.mean, other.mean)
        assert np.array_equal(one.deviation, other.deviation)


def test_a_folder_that_moved_is_found(photos, tmp_path, decoded):
    Heard(photos)
    shutil.move(photos, tmp_path / "moved")
    Heard(tmp_path / "moved")
    assert len(decoded) == 24


@pytest.mark.parametrize("keys", [{"size": 7}, {"fit": "pad"}, {"size": [6, 7]}], ids=str)
def test_other_settings_are_other_pixels(photos, decoded, keys):
    Heard(photos)
    found = Heard(photos, **keys)
    assert len(decoded) == 48
    side = keys.get("size", 6)
    assert found.test.pixels.shape[1:3] == ((side, side) if isinstance(side, int) else tuple(side))


def test_a_changed_file_of_the_same_size_and_date_is_noticed(photos):
    """Not even its date tells."""
    first = Heard(photos)
    target = photos / "train" / "a" / "0.png"
    status, content = target.stat(), bytearray((photos / "train" / "b" / "0.png").read_bytes())
    target.write_bytes(content)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = Heard(photos)
    assert not np.array_equal(first.splits.content_hash, again.splits.content_hash)


def test_files_that_swap_names_swap_pixels(photos):
    first = Heard(photos)
    one, other = photos / "test" / "a" / "0.png", photos / "test" / "b" / "5.png"
    one.rename(photos / "aside.png")
    other.rename(one)
    (photos / "aside.png").rename(other)
    again = Heard(photos)
    assert np.array_equal(first.test.pixels[0], again.test.pixels[11])
    assert np.array_equal(first.test.pixels[11], again.test.pixels[0])


@pytest.mark.parametrize(
    "harm", ["cut", "cut by a byte", "flipped", "empty", "longer", "text", "other shape"]
)
def test_a_damaged_cache_is_told_and_made_anew(photos, tmp_path, decoded, harm):
    first = Heard(photos)
    for path in cached(tmp_path):
        content = bytearray(path.read_bytes())
        path.unlink()  # the pixels of the first are still mapped
        if harm == "flipped":
            content[7] ^= 4
        harmed: dict[str, bytes | bytearray] = {
            "cut": content[:50],
            "cut by a byte": content[1:],
            "flipped": content,
            "empty": b"",
            "longer": bytes(9) + content,
            "text": b"no images at all" * 9,
            "other shape": content.replace(b"6, 6", b"4, 9"),
        }
        path.write_bytes(harmed[harm])
    again = Heard(photos)
    assert len(decoded) == 48
    assert len([one for one in again.said if "damaged" in one and "made anew" in one]) == 2
    assert same(first.splits.train, again.splits.train)
    assert Heard(photos).said == []


def test_on_a_full_disk_images_are_in_memory(photos, tmp_path, monkeypatch):
    first = Heard(photos)
    shutil.rmtree(tmp_path / "cache")
    real = OnDisk.images

    class Full:
        def __init__(self, file):
            self._file, self._left = file, 300

        def write(self, content):
            self._left -= len(content) if isinstance(content, bytes) else content.nbytes
            if self._left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self._file.write(content)

        def __getattr__(self, name):
            return getattr(self._file, name)

    def images(self, *arguments):
        grown: Any = real(self, *arguments)
        grown.file = Full(grown.file)
        return grown

    monkeypatch.setattr(OnDisk, "images", images)
    full = Heard(photos)
    assert isinstance(full.test.pixels, np.ndarray)
    assert any("No space left on device" in one and "kept in memory" in one for one in full.said)
    assert same(full.splits.train, first.splits.train)
    assert full.splits.content_hash == first.splits.content_hash
    assert cached(tmp_path) == []


def test_a_cache_that_is_no_folder_is_gone_without(photos, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    found = Heard(photos)
    assert isinstance(found.splits.train.pixels, np.ndarray)
    assert any("kept in memory" in one for one in found.said)


def test_what_fits_nowhere_is_refused():
    with pytest.raises(UserError, match=r"more memory than there is.*data\.size"):
        InMemory("photos").images(most_bytes(), (64, 64, 3), np.uint8)


def test_a_file_that_changes_while_it_is_read(photos, tmp_path, monkeypatch):
    real = read_levels

    def read(path, *arguments, **keywords):
        found = real(path, *arguments, **keywords)
        if path.name == "3.png":
            path.write_bytes(path.read_bytes() + b" ")
        return found

    monkeypatch.setattr(image_stack, "read_levels", read)
    with pytest.raises(UserError, match=r"3\.png: an image file changed while it was read"):
        Heard(photos)
    assert cached(tmp_path) == []


def test_a_test_folder_that_changes_after_training_is_refused(photos):
    found = Heard(photos)
    (photos / "test" / "a" / "5.png").unlink()
    with pytest.raises(UserError):
        found.splits.open_test()


def test_an_unreadable_image_in_the_middle_is_named(photos, tmp_path):
    bad = photos / "train" / "b" / "2.png"
    bad.write_bytes(bad.read_bytes()[:70])
    with pytest.raises(UserError, match=r"train/b/2\.png: unreadable image"):
        Heard(photos)
    assert cached(tmp_path) == []
    bad.unlink()
    bad.symlink_to("nowhere.png")
    with pytest.raises(UserError, match=r"train/b/2\.png: unreadable image"):
        Heard(photos)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_order_and_bytes_do_not_depend_on_the_threads(photos, tmp_path, monkeypatch, threads):
    one = Heard(photos).splits
    shutil.rmtree(tmp_path / "cache")
    for module in (image_cache, image_stack):
        monkeypatch.setattr(module, "threads_for", lambda _bytes, _count: threads)
    assert Heard(photos).splits.content_hash == one.content_hash


def test_the_first_failure_in_order_is_raised_and_the_rest_is_left():
    def do(number):
        if number in (5, 7):
            raise ValueError(number)
        return number

    found = in_order.in_order(do, range(100), what="x", threads=3)
    shown = [next(found) for _ in range(5)]
    assert shown == [(n, n) for n in range(5)]
    with pytest.raises(ValueError, match="5"):
        next(found)


def test_the_reading_is_shown(photos):
    told: list[Any] = []

    class Bar:
        def __init__(self, what, total):
            told.append([what, total, 0])

        def __enter__(self):
            return self.advance

        def __exit__(self, *_):
            told[-1].append("closed")

        def advance(self, count):
            told[-1][2] += count

    with reading_shown(Bar, told.append):
        find_dataset(Data(name=f"folder:{photos}", size=6)).load(photos)
    assert told == [["comparing image files", 12, 12, "closed"], ["reading image files", 11, 11, "closed"]]


def test_stored_pixels_are_indexed_like_an_array():
    array = RANDOM.integers(0, 256, (9, 2, 3, 1), dtype=np.uint8)
    rows = np.array([7, 1, 1, 4])
    for stored, wanted in ((StoredPixels(array), array), (StoredPixels(array).chosen(rows), array[rows])):
        assert (len(stored), stored.shape, stored.nbytes) == (len(wanted), wanted.shape, wanted.nbytes)
        for key in (0, -1, slice(1, 3), slice(None), np.array([2, 0, 2]), slice(0, 0)):
            np.testing.assert_array_equal(stored[key], wanted[key])
        np.testing.assert_array_equal(np.asarray(stored), wanted)
        np.testing.assert_array_equal(stored.chosen(np.array([3, 0]))[:], wanted[[3, 0]])


def test_the_command_shows_the_cache_and_deletes_it(photos, tmp_path):
    Heard(photos)
    total = sum(path.stat().st_size for path in cached(tmp_path))
    other = tmp_path / "cache" / "somebody's own"
    other.write_text("stays")
    shown = CliRunner().invoke(app, ["data", "cache"])
    assert shown.output == f"{tmp_path / 'cache'}: 2 files, {size(total)}\n"
    assert CliRunner().invoke(app, ["data", "cache", "--clear"]).exit_code == 0
    assert cached(tmp_path) == [other]


def test_two_at_once_leave_one_whole_cache(photos, tmp_path, decoded):
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: Heard(photos), range(2))
    assert same(one.splits.train, other.splits.train)
    assert {path.suffix for path in cached(tmp_path)} == {".images"}
    assert len(cached(tmp_path)) == 2
    before = len(decoded)
    again = Heard(photos)
    assert len(decoded) == before
    assert (again.said, again.splits.content_hash) == ([], one.splits.content_hash)


def test_what_a_killed_process_left_is_removed_after_a_day(photos, tmp_path):
    (tmp_path / "cache").mkdir()
    old, new = (tmp_path / "cache" / f"{name}.part" for name in ("old", "new"))
    for path, age in ((old, 25 * 3600), (new, 60)):
        path.write_bytes(b"cut")
        os.utime(path, (time.time() - age, time.time() - age))
    Heard(photos)
    assert not old.exists()
    assert new.exists()
