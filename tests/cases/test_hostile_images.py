"""Image folders and IDX files that were made to hang, crash or fill the memory: exit code 2, soon, naming the file."""

from __future__ import annotations

import errno
import gzip
import io
import os
import resource
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile
from typer.testing import CliRunner

from regulab.cli import app
from regulab.config import Data, Protocol
from regulab.data import find_dataset, load, regular_file
from regulab.data.formats import decoding, idx
from regulab.data.formats.decoding import formats, suffixes
from regulab.data.formats.image_levels import read_levels
from regulab.data.picture import load_picture
from regulab.errors import UserError

from .making_images import fill, noise, png_that_declares, save, with_splits

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"


def read(path: Path):
    content = find_dataset(f"folder:{path}").load(path)
    content.open_test()
    return content


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "pipe behind a link"])
def test_what_is_no_regular_file_does_not_hang(tmp_path, kind):
    path = with_splits(tmp_path) / "train" / "dog" / "zz.png"
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        place = os.getcwd()
        os.chdir(path.parent)  # the name of a socket is limited to some 100 bytes
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(place)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        os.mkfifo(tmp_path.parent / f"{tmp_path.name}-pipe")
        path.symlink_to(tmp_path.parent / f"{tmp_path.name}-pipe")
    said = {"pipe behind a link": "pipe"}.get(kind, kind)
    with pytest.raises(UserError, match=rf"zz\.png: not a file; got 'a {said}'"):
        read(tmp_path)
    with pytest.raises(UserError, match="not a file"):
        load_picture(path)


def test_a_file_exchanged_for_a_pipe_does_not_hang(tmp_path, monkeypatch):
    """Between the look at it and its opening."""
    path, real = save(tmp_path / "a.png", noise()), os.stat(tmp_path / "a.png")
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(os, "stat", lambda _path: real)
    with pytest.raises(UserError, match="not a file; got 'a pipe'"):
        regular_file.open_regular(path)


def test_a_pipe_among_what_is_left_out_is_only_counted(tmp_path):
    with_splits(tmp_path)
    os.mkfifo(tmp_path / "train" / "dog" / "log.txt")
    assert read(tmp_path).notes[0].endswith(": train/dog/log.txt")


def test_sizes_are_read_before_pixels(tmp_path, monkeypatch):
    """Twelve images of 169 megapixels each, in 170 kB: refused by the header of the first."""
    content = png_that_declares(13_000, 13_000)
    assert len(content) < 1_000_000
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                (tmp_path / part / name / f"{number}.png").write_bytes(content)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"0\.png: the image is too large; got '13,000 × 13,000 pixels'"):
        read(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kilobytes"


def test_another_size_is_seen_before_its_pixels(tmp_path, monkeypatch):
    with_splits(tmp_path)
    (tmp_path / "train" / "dog" / "zz.png").write_bytes(png_that_declares(5_000, 5_000))
    decoded = []
    whole = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: decoded.append(self.size) or whole(self))
    with pytest.raises(UserError, match=r"zz\.png: images of different sizes; got '5000 × 5000"):
        read(tmp_path)
    assert set(decoded) == {(8, 8)}


def test_the_whole_dataset_has_a_limit(tmp_path, monkeypatch):
    with_splits(tmp_path)
    monkeypatch.setattr("regulab.data.room.most_bytes", lambda: 16 * 64)
    assert len(read(tmp_path).train) == 16
    monkeypatch.setattr("regulab.data.room.most_bytes", lambda: 16 * 64 - 1)
    with pytest.raises(
        UserError, match=r"more memory than there is.*got '1,024 bytes for 16 images of 8 × 8"
    ):
        read(tmp_path)


def test_a_file_too_large_to_be_an_image_is_not_read(tmp_path):
    path = tmp_path / "huge.webp"
    with path.open("wb") as file:
        file.write(b"RIFF\xff\xff\xff\xffWEBPVP8 ")
        file.truncate(2**31)  # takes no room
    with pytest.raises(
        UserError, match=r"huge\.webp: the file of the image is too large; got '2,147,483,648 bytes'"
    ):
        read_levels(path, None, None)


def test_nothing_starts_ghostscript(tmp_path, monkeypatch):
    """PostScript under any name; and no format that is not on our list is even asked."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("a program was started"))
    assert not {"EPS", "WMF", "PSD", "FITS", "MPEG", "HDF5"} & set(formats())
    assert not {".eps", ".ps", ".wmf"} & suffixes()
    for suffix in ("png", "jpg", "tif", "ppm"):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(EPS)
        for reading in (lambda path: read_levels(path, None, None), load_picture):
            with pytest.raises(UserError, match=rf"a\.{suffix}: unreadable .* of a kind that is read"):
                reading(path)


def samples() -> dict[str, bytes]:
    """A small image in every format."""
    found = {}
    colour = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    for name in formats():
        file = io.BytesIO()
        Image.fromarray(colour).save(file, name)
        found[name] = file.getvalue()
    for name, array in (
        ("PNG", colour[..., 0].astype(np.uint16)),
        ("TIFF", colour[..., 0].astype(np.float32)),
    ):
        file = io.BytesIO()
        Image.fromarray(array).save(file, name)
        found[f"{name} deep"] = file.getvalue()
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(colour).save(file, "JPEG", exif=exif)
    found["JPEG turned"] = file.getvalue()
    return found


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Some bytes exchanged, or a part cut out, doubled or cut off; mostly near the beginning, where headers are."""
    changed = bytearray(content)
    place = int(len(content) * random.random() ** 3)
    kind = random.integers(4)
    if kind == 0:
        for at in random.integers(place, min(len(content), place + 40), 3):
            changed[at] = random.integers(256)
    elif kind == 1:
        changed[place : place + 4] = struct.pack(
            ">I", int(random.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFF]))
        )
    elif kind == 2:
        del changed[place : place + int(random.integers(1, 30))]
    else:
        changed = changed[: max(1, place)]
    return bytes(changed)


def attack(tmp_path: Path, count: int) -> int:
    """Every damaged image is read or refused by `UserError`; how many were refused."""
    random, path, refused = np.random.default_rng(5), tmp_path / "a.png", []
    kinds = list(samples().values())
    for number in range(count):
        content = kinds[number % len(kinds)]
        path.write_bytes(damaged(content, random))
        for reading in (lambda path: read_levels(path, None, None), load_picture):
            try:
                reading(path)
            except UserError as error:
                refused.append(str(error))
    assert all(str(path) in message for message in refused)
    return len(refused)


def test_damaged_images(tmp_path):
    assert attack(tmp_path, 300) > 150


@pytest.mark.slow
def test_many_damaged_images(tmp_path):
    assert attack(tmp_path, 20_000) > 10_000


@pytest.mark.parametrize(
    "error",
    [
        SyntaxError("broken PNG file"),
        struct.error("unpack requires 4 bytes"),
        zlib.error("Error -3"),
        OverflowError("too large"),
        MemoryError(),
        KeyError(259),
        IndexError("out of range"),
        RuntimeError("decoder"),
        Image.DecompressionBombError("bomb"),
        ZeroDivisionError("x"),
        RecursionError("deep"),
        OSError("image file is truncated (3 bytes not processed)"),
    ],
)
def test_whatever_a_decoder_raises(tmp_path, monkeypatch, error):
    with_splits(tmp_path)

    def fail(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(UserError, match=r"00\.png: (unreadable image|the image is too large)"):
        read(tmp_path)


def test_an_interruption_is_none_of_them(tmp_path, monkeypatch):
    with_splits(tmp_path)

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageFile.ImageFile, "load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read(tmp_path)


def test_a_tiff_of_many_directories_is_not_walked(tmp_path):
    """Pillow would compare each of its 20,000 directories with all before it: minutes, for 360 kB."""
    count, data = 20_000, b"\x07" * 4
    entries = [(256, 2), (257, 2), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2), (279, 4)]
    first = struct.pack("<H", len(entries))
    first += b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    start = 12 + len(first) + 4
    chain = b"".join(
        struct.pack("<HHHIII", 1, 256, 3, 1, 2, 0 if k == count - 1 else start + 18 * (k + 1))
        for k in range(count)
    )
    path = tmp_path / "a.tif"
    path.write_bytes(b"II" + struct.pack("<HI", 42, 12) + data + first + struct.pack("<I", start) + chain)
    before = time.process_time()
    found = read_levels(path, None, None)
    assert found.array.tolist() == [[7, 7], [7, 7]]
    assert found.several_frames
    assert load_picture(path).levels.tolist() == [[7 / 255] * 2] * 2
    assert time.process_time() - before < 2


# --------------------------------------------------------------------------------------------------- folders


def test_links_that_lead_in_circles(tmp_path):
    fill(tmp_path, {"cat": 6, "dog": 6})
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat")
    (tmp_path / "cat" / "up").symlink_to(tmp_path)
    (tmp_path / "cat" / "self").symlink_to("self")
    content = read(tmp_path)
    assert "cat/again/" in content.notes[1]
    # `up` leads to both classes: cat is known by then, and its dogs count as cats, which is said.
    assert "6 images lie in folders below a class folder" in content.notes[0]


def test_links_to_links_do_not_multiply(tmp_path):
    """Thirty folders with two links each to the next: a thousand million ways to the last."""
    fill(tmp_path, {"cat": 6, "dog": 6})
    steps = tmp_path.parent / f"{tmp_path.name}-steps"
    for number in range(30):
        (steps / str(number)).mkdir(parents=True)
        for name in "ab":
            (steps / str(number) / name).symlink_to(steps / str(number + 1))
    save(steps / "30" / "end.png", noise())
    (tmp_path / "cat" / "steps").symlink_to(steps / "0")
    assert "1 image lies in folders" in read(tmp_path).notes[0]


@pytest.mark.slow
def test_a_deep_tree(tmp_path):
    """Deeper than Python recurses; where paths become too long for the system, that is said."""
    fill(tmp_path, {"cat": 6, "dog": 6})
    place = os.open(tmp_path / "cat", os.O_RDONLY)
    try:
        for _ in range(1_010):
            os.mkdir("d", dir_fd=place)
            place, last = os.open("d", os.O_RDONLY, dir_fd=place), place
            os.close(last)
    finally:
        os.close(place)
    assert len(read(tmp_path).train) > 0
    long = tmp_path / "dog"
    place = os.open(long, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=place)
        place, last = os.open("d" * 250, os.O_RDONLY, dir_fd=place), place
        os.close(last)
    os.close(place)
    with pytest.raises(UserError, match=r"cannot read the folder .File name too long"):
        read(tmp_path)
    subprocess.run(["rm", "-rf", str(tmp_path / "dog"), str(tmp_path / "cat")], check=True)


@pytest.mark.parametrize("classes", [150, pytest.param(3_000, marks=pytest.mark.slow)])
def test_many_classes(tmp_path, classes):
    """A test split that lacks one of them: a message, not a page."""
    first = save(tmp_path / "one.png", noise(4, 4))
    for part, count in (("train", classes), ("test", classes - 1)):
        for number in range(count):
            (tmp_path / "images" / part / f"class {number:04}").mkdir(parents=True)
            os.link(first, tmp_path / "images" / part / f"class {number:04}" / "0.png")
    with pytest.raises(UserError, match="other classes than in") as caught:
        read(tmp_path / "images")
    assert f"class {classes - 1:04}" in str(caught.value)
    assert len(str(caught.value)) < 800
    os.makedirs(tmp_path / "images" / "test" / f"class {classes - 1:04}")
    os.link(first, tmp_path / "images" / "test" / f"class {classes - 1:04}" / "0.png")
    content = read(tmp_path / "images")
    assert len(content.class_names) == classes
    assert content.train.labels.tolist() == list(range(classes))


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_an_empty_class(tmp_path, part):
    with_splits(tmp_path, val=2)
    for path in (tmp_path / part / "cat").iterdir():
        path.unlink()
    (tmp_path / part / "cat" / "readme.txt").write_text("")
    with pytest.raises(UserError, match=rf"{part}/cat: a class folder without images"):
        read(tmp_path)


def test_paths_that_cannot_be(tmp_path):
    for path, said in (
        ("x" * 300, "cannot read the folder .File name too long"),
        ("~nobody-of-this-name/photos", "no home folder for this path"),
        ("a\0b", "cannot be seen"),
    ):
        with pytest.raises(UserError, match=said):
            find_dataset(f"folder:{path}").load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"P5 0 5 255\n", b"P5 5 0 255\n", png_that_declares(0, 5), png_that_declares(5, 0)]
)
def test_images_without_pixels(tmp_path, content):
    path = with_splits(tmp_path) / "train" / "cat" / "00.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"00\.png"):
        read(tmp_path)


# ------------------------------------------------------------------------------------------------ permissions


def denied(path: object) -> PermissionError:
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_a_class_folder_without_permission(tmp_path, monkeypatch):
    with_splits(tmp_path)
    whole = os.scandir

    def scandir(path):
        if str(path).endswith("train/dog"):
            raise denied(path)
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    answer = CliRunner().invoke(app, ["run", "--data", f"folder:{tmp_path}", "--out", str(tmp_path / "run")])
    assert answer.exit_code == 2
    assert "train/dog: cannot read the folder (Permission denied)" in answer.stderr


@pytest.mark.parametrize("part", ["train", "test"])
def test_an_image_without_permission(tmp_path, monkeypatch, part):
    with_splits(tmp_path)
    whole = os.open

    def refuse(path, *arguments, **options):
        if str(path).endswith(f"{part}/dog/03.png"):
            raise denied(path)
        return whole(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    answer = CliRunner().invoke(app, ["run", "--data", f"folder:{tmp_path}", "--out", str(tmp_path / "run")])
    assert answer.exit_code == 2
    assert f"{part}/dog/03.png: unreadable image (Permission denied)" in answer.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_real_permissions(tmp_path):
    path = with_splits(tmp_path) / "test" / "dog" / "03.png"
    path.chmod(0)
    with pytest.raises(UserError, match=r"03\.png: unreadable image .Permission denied"):
        read(tmp_path)
    path.parent.chmod(0)
    try:
        with pytest.raises(UserError, match=r"dog: cannot read the folder .Permission denied"):
            read(tmp_path)
    finally:
        path.parent.chmod(0o700)


# ----------------------------------------------------------------------------------------------------- IDX files


def write_mnist(root: Path) -> Path:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 60), ("t10k", 20)):
        header = np.array([0x803, count, 7, 5], ">u4").tobytes()
        (raw / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + bytes(count * 35)))
        header = np.array([0x801, count], ">u4").tobytes()
        labels = (np.arange(count) % 10).astype(np.uint8).tobytes()
        (raw / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + labels))
    return raw


def bomb(header: list[int], zeros: int) -> bytes:
    """A gzip file with a header of IDX, then so many zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    content = packer.compress(np.array(header, ">u4").tobytes())
    block = bytes(10_000_000)
    for _ in range(zeros // len(block)):
        content += packer.compress(block)
    return content + packer.flush()


def peak_of(code: str) -> tuple[int, str]:
    """The most memory in MB that a process took for ``code``, above what it had for its imports; and what it said."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from regulab.data.formats.idx import read_idx\n"
        "from regulab.errors import UserError\n"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = most()\n"
        f"try:\n    {code}\nexcept UserError as error:\n    print(error)\n"
        "print((most() - before) // 1000)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    *said, peak = answer.stdout.splitlines()
    return int(peak), "\n".join(said)


def test_a_gz_bomb_is_not_unpacked(tmp_path):
    """100 MB of zeros after 60 images of 7 × 5."""
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(bomb([0x803, 60, 7, 5], 100_000_000))
    peak, said = peak_of(f"read_idx(Path({str(path)!r}), 0x803)")
    assert "bytes after the end of the IDX data; got 'more than 2116 bytes'; expected 2116" in said
    assert peak < 50


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ([0x803, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF], "more data than there is memory for"),
        ([0x803, 1_000_000, 28, 28], "truncated IDX file; got 'a file too small for them'"),
        ([0x803, 0, 28, 28], "empty"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_header_that_claims_the_world(tmp_path, header, said, packed):
    content = np.array(header, ">u4").tobytes() + bytes(50)
    path = tmp_path / ("a.gz" if packed else "a")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(UserError, match=said):
        idx.read_idx(path, 0x803)


@pytest.mark.parametrize(
    "name", ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"]
)
@pytest.mark.parametrize("what", ["pipe", "folder", "denied", "damaged"])
def test_each_idx_file_is_looked_at_before_training(tmp_path, monkeypatch, name, what):
    path = write_mnist(tmp_path) / f"{name}-ubyte.gz"
    if what == "damaged":
        path.write_bytes(path.read_bytes()[:-9])
    elif what == "denied":
        whole = os.open

        def refuse(opened, *arguments, **options):
            if str(opened) == str(path):
                raise denied(opened)
            return whole(opened, *arguments, **options)

        monkeypatch.setattr(os, "open", refuse)
    else:
        path.unlink()
        path.mkdir() if what == "folder" else os.mkfifo(path)
    with pytest.raises(UserError) as caught:
        load(Data(name="mnist"), Protocol(), tmp_path)
    assert str(path) in str(caught.value)
    said = {
        "pipe": "got 'a pipe'",
        "folder": "got 'a folder'",
        "denied": "(Permission denied)",
        "damaged": "damaged",
    }
    assert said[what] in str(caught.value)


def test_our_limit_is_below_that_of_pillow():
    """Else Pillow would refuse in its own words."""
    assert decoding.MOST_PIXELS < 2 * Image.MAX_IMAGE_PIXELS
