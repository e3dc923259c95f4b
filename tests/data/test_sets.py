"""The datasets that are fetched, from small made files in their formats."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from regulab.data import datasets, find_dataset
from regulab.data.dataset import DatasetContent
from regulab.data.fetching.fetch import FetchError, fetch, verify
from regulab.data.formats.cifar import CifarFiles
from regulab.data.sets import cifar10, cifar100, svhn
from regulab.data.sets.svhn import SVHN
from regulab.errors import UserError
from tests.data.test_fetch import Mirror, running

MEDICAL = [
    name for name in datasets() if name.endswith("mnist") and datasets()[name].files[0].folder == "MedMNIST"
]
SMALL = {
    "cifar10": replace(cifar10.FILES, records=4, test_records=3),
    "cifar100": replace(cifar100.FILES, records=4, test_records=3),
}


def records(files: CifarFiles, count: int, seed: int) -> bytes:
    """Records whose label is their number, and, with two label bytes, a coarse label of 99."""
    draws = np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)
    labels = np.arange(count, dtype=np.uint8)[:, None]
    coarse = [np.full_like(labels, 99)] * (files.label_bytes - 1)
    return np.concatenate([*coarse, labels, draws], axis=1).tobytes()


def contents(files: CifarFiles) -> dict[str, bytes]:
    named = {name: records(files, files.records, seed) for seed, name in enumerate(files.train)}
    return named | {files.test[0]: records(files, files.test_records, 99)}


def archive(files: CifarFiles, members: dict[str, bytes]) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return found.getvalue()


def put_archive(root: Path, files: CifarFiles, members: dict[str, bytes] | None = None) -> None:
    inside = {f"{files.members}/{name}": content for name, content in contents(files).items()}
    (root / files.folder).mkdir(exist_ok=True)
    (root / files.folder / files.archive).write_bytes(archive(files, inside if members is None else members))


@pytest.mark.parametrize("name", SMALL)
def test_cifar_is_read_out_of_its_archive_and_nothing_is_unpacked(name, tmp_path):
    files = SMALL[name]
    put_archive(tmp_path, files)
    content = files.loader()(tmp_path)
    count = len(files.train) * files.records
    assert content.train.pixels.shape == (count, 32, 32, 3)
    assert content.train.labels.tolist() == list(range(files.records)) * len(files.train)
    planes = np.frombuffer(contents(files)[files.train[-1]], np.uint8)[-3072:].reshape(3, 32, 32)
    np.testing.assert_array_equal(content.train.pixels[-1], planes.transpose(1, 2, 0))
    assert content.open_test().labels.tolist() == [0, 1, 2]
    assert [path.name for path in (tmp_path / files.folder).iterdir()] == [files.archive]


@pytest.mark.parametrize("name", SMALL)
def test_the_unpacked_files_will_do(name, tmp_path):
    files = SMALL[name]
    put_archive(tmp_path, files)
    packed = files.loader()(tmp_path)
    (tmp_path / files.folder / files.archive).unlink()
    unpacked = tmp_path / files.folder / files.members
    unpacked.mkdir()
    for member, content in contents(files).items():
        (unpacked / member).write_bytes(content)
    assert files.loader()(tmp_path).content_hash == packed.content_hash
    (unpacked / files.test[0]).write_bytes(contents(files)[files.test[0]][:-1])
    with pytest.raises(UserError, match="another length"):
        files.loader()(tmp_path).open_test()
    (unpacked / files.test[0]).unlink()
    with pytest.raises(UserError, match=f"data fetch {name}"):
        files.loader()(tmp_path).open_test()


def test_members_that_lead_elsewhere_are_never_written(tmp_path):
    files = SMALL["cifar100"]
    inside = {f"{files.members}/{name}": content for name, content in contents(files).items()}
    put_archive(tmp_path, files, {"../outside": b"x", f"/{tmp_path}/absolute": b"x", **inside})
    assert len(files.loader()(tmp_path).train) == 4
    assert {path.name for path in tmp_path.rglob("*")} == {files.folder, files.archive}


def test_an_archive_that_is_damaged_or_of_something_else_is_refused(tmp_path):
    files = SMALL["cifar100"]
    train = f"{files.members}/train.bin"
    for members, message in (
        ({}, "lacks a file; got 'no cifar-100-binary/train.bin'"),
        ({"elsewhere/train.bin": b""}, "lacks a file"),
        ({train: b"short"}, "train.bin: a file of another length"),
        ({train: bytes(13000)}, "more than 12,296 bytes"),
        ({train: b"\x00\xff" + bytes(4 * 3074 - 2)}, r"label out of range; got 'label 255 \(record 0\)'"),
    ):
        put_archive(tmp_path, files, members)
        with pytest.raises(UserError, match=message):
            files.loader()(tmp_path)
    put_archive(tmp_path, files)
    place = tmp_path / files.folder / files.archive
    for damaged in (b"", b"text", place.read_bytes()[:3000], gzip.compress(b"no tar")):
        place.write_bytes(damaged)
        with pytest.raises(UserError, match=r"cifar-100-binary\.tar\.gz"):
            files.loader()(tmp_path)


def mat(root: Path, name: str, images: np.ndarray, labels: np.ndarray, **others: object) -> None:
    (root / "SVHN").mkdir(exist_ok=True)
    savemat(root / "SVHN" / name, {"X": images, "y": labels, **others}, do_compression=True)


def test_svhn_has_its_images_last_and_calls_zero_ten(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), np.uint8)
    mat(tmp_path, svhn.TRAIN, images, np.array([[10], [1], [9], [2]], np.uint8))
    mat(tmp_path, svhn.TEST, images[..., :2], np.array([[3.0], [10.0]]))
    content = SVHN.load(tmp_path)
    assert content.train.labels.tolist() == [0, 1, 9, 2]
    np.testing.assert_array_equal(content.train.pixels[2], images[..., 2])
    assert content.open_test().labels.tolist() == [3, 0]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((32, 32, 3, 2)), np.ones((2, 1)), "not the images of SVHN; got 'X float64"),
        (np.zeros((4, 32, 32, 3), np.uint8), np.ones((4, 1)), "not the images of SVHN"),
        (np.zeros((32, 32, 3, 2), np.uint8), np.ones((3, 1)), "3 labels of 2 images"),
        (np.zeros((32, 32, 3, 2), np.uint8), np.array([[0], [1]]), "label out of range"),
        (np.zeros((32, 32, 3, 2), np.uint8), np.array([["a"], ["b"]]), "y is no array of numbers"),
        (np.array([["a"]]), np.ones((2, 1)), "X is no array of numbers"),
        (np.array([[{"a": 1}]]), np.ones((2, 1)), "X is no array of numbers"),
    ],
    ids=["floats", "order", "counts", "zero", "texts", "text", "cells"],
)
def test_another_file_of_matlab_is_not_svhn(images, labels, message, tmp_path):
    mat(tmp_path, svhn.TRAIN, images, labels)
    with pytest.raises(UserError, match=message):
        SVHN.load(tmp_path)


def test_what_is_no_file_of_matlab_is_refused(tmp_path):
    mat(tmp_path, svhn.TRAIN, np.zeros((32, 32, 3, 2), np.uint8), np.ones((2, 1)))
    place = tmp_path / "SVHN" / svhn.TRAIN
    whole = place.read_bytes()
    newer = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n"
    for damaged in (b"", b"text" * 100, whole[:200], newer):
        place.write_bytes(damaged)
        with pytest.raises(UserError, match=r"train_32x32\.mat"):
            SVHN.load(tmp_path)


def medical(root: Path, name: str, *, classes: int, channels: int) -> DatasetContent:
    """A made file of a dataset of MedMNIST, loaded."""
    shape = (classes, 28, 28) if channels == 1 else (classes, 28, 28, 3)
    arrays: dict[str, Any] = {
        f"{part}_images": np.full(shape, number, np.uint8)
        for number, part in enumerate(("train", "val", "test"))
    }
    numbers = np.arange(classes, dtype=np.uint8)[:, None]
    arrays |= {f"{part}_labels": numbers for part in ("train", "val", "test")}
    (root / "MedMNIST").mkdir()
    np.savez_compressed(root / "MedMNIST" / f"{name}.npz", **arrays)
    return find_dataset(name).load(root)


@pytest.mark.parametrize("name", MEDICAL)
def test_medical_images_have_named_classes_and_a_validation_part(name, tmp_path):
    summary = datasets()[name].summary
    classes = int(summary.partition(" classes;")[0].rpartition(" ")[2])
    content = medical(tmp_path, name, classes=classes, channels=3 if "colour" in summary else 1)
    assert len(content.class_names) == classes
    assert content.validation_indices is not None
    assert content.validation_indices.tolist() == list(range(classes, 2 * classes))
    assert content.train.labels.tolist() == list(range(classes)) * 2
    assert content.open_test().pixels.min() == 2


def test_eleven_of_them_are_known():
    assert len(MEDICAL) == 11


def test_fetching_checks_the_md5_of_a_file_that_is_no_gzip(tmp_path):
    medical(tmp_path, "breastmnist", classes=2, channels=1)
    body = (tmp_path / "MedMNIST" / "breastmnist.npz").read_bytes()
    root = tmp_path / "elsewhere"
    with running(Mirror(body)) as mirror, running(Mirror(body[:-1] + b"\x01")) as wrong:
        file = datasets()["breastmnist"].files[0]
        right = replace(file, mirrors=(wrong.address, mirror.address), md5=hashlib.md5(body).hexdigest())
        made = replace(datasets()["breastmnist"], files=(right,))
        assert [check.status for check in verify(made, root)] == ["missing"]
        (path,) = fetch(made, root, lambda *event: None, pause=0.001)
        assert path.read_bytes() == body
        assert [check.status for check in verify(made, root)] == ["ok"]
        assert made.load(root).class_names == ("malignant", "normal, benign")
        path.write_bytes(body[:-1])
        (check,) = verify(made, root)
        assert check.status == "corrupt"
        assert check.detail.startswith("MD5 is ")
        alone = replace(made, files=(replace(right, mirrors=(wrong.address,)),))
        with pytest.raises(FetchError, match="wrong content: MD5 is"):
            fetch(alone, root, lambda *event: None, pause=0.001)
