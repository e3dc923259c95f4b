import gzip

import numpy as np
import pytest

from regulab.config import Data, Protocol
from regulab.data import find_dataset, load
from regulab.errors import UserError

from .conftest import idx_bytes

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def mnist(root):
    return find_dataset("mnist").load(root)


@pytest.mark.parametrize("packed", [True, False])
def test_pixels_and_labels_arrive_as_written(write_mnist, packed):
    images = np.random.default_rng(1).integers(0, 256, (60, 7, 5))
    content = mnist(write_mnist(packed=packed, train_images=images))
    assert content.train.pixels.shape == (60, 7, 5, 1)
    assert np.array_equal(content.train.pixels[..., 0], images)
    assert content.train.labels.tolist() == [n % 10 for n in range(60)]
    assert content.train.pixels.flags.writeable
    assert content.open_test().pixels.shape == (20, 7, 5, 1)
    assert content.class_names == tuple("0123456789")


def test_missing_file_names_it_the_root_and_the_command(tmp_path):
    with pytest.raises(UserError) as caught:
        mnist(tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "MNIST" / "raw" / TRAIN_IMAGES) in message
    assert f"data root {tmp_path}" in message
    assert "regulab data fetch mnist" in message


def damage(content: bytes, how: str) -> bytes:
    whole = gzip.decompress(content)
    return {
        "no header": gzip.compress(whole[:7]),
        "truncated": gzip.compress(whole[:-1]),
        "trailing": gzip.compress(whole + b"\0"),
        "magic": gzip.compress(b"\0\0\x0d" + whole[3:]),
        "cut gzip": content[: len(content) // 2],
        "no gzip": b"<html>" * 20,
        "flipped": content[:30] + bytes([content[30] ^ 0xFF]) + content[31:],
        "nothing": b"",
        "no images": gzip.compress(idx_bytes(np.zeros((0, 7, 5)))),
    }[how]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no header", "truncated IDX file"),
        ("truncated", "truncated IDX file"),
        ("trailing", "bytes after the end"),
        ("magic", "expected 0x00000803"),
        ("cut gzip", "damaged gzip"),
        ("no gzip", "damaged gzip"),
        ("flipped", "damaged gzip"),
        ("nothing", "truncated IDX file"),
        ("no images", "empty"),
    ],
)
def test_damaged_file_is_named(write_mnist, how, said):
    root = write_mnist()
    path = root / "MNIST" / "raw" / TRAIN_IMAGES
    path.write_bytes(damage(path.read_bytes(), how))
    with pytest.raises(UserError, match=said) as caught:
        mnist(root)
    assert str(path) in str(caught.value)


def test_images_in_place_of_labels(write_mnist):
    raw = write_mnist() / "MNIST" / "raw"
    (raw / TRAIN_LABELS).write_bytes((raw / TRAIN_IMAGES).read_bytes())
    with pytest.raises(UserError, match="got '0x00000803'; expected 0x00000801"):
        mnist(raw.parent.parent)


def test_fewer_labels_than_images(write_mnist):
    root = write_mnist(train_labels=np.zeros(59, int))
    with pytest.raises(UserError, match=f"{TRAIN_LABELS}.*got '59 labels'; expected 60"):
        mnist(root)


def test_label_out_of_range(write_mnist):
    labels = np.arange(60) % 10
    labels[41] = 10
    with pytest.raises(UserError, match=f"{TRAIN_LABELS}.*label 10 .image 41.*expected 0 to 9"):
        mnist(write_mnist(train_labels=labels))


def test_a_damaged_test_file_is_noticed_before_training(write_mnist):
    root = write_mnist()
    path = root / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(b"garbage")
    with pytest.raises(UserError, match=r"t10k-images.*damaged gzip"):
        load(Data(name="mnist"), Protocol(), root)


def test_a_missing_test_file_is_noticed_before_training(write_mnist):
    root = write_mnist()
    (root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="t10k-labels"):
        mnist(root)


def test_test_images_of_another_size(write_mnist):
    content = mnist(write_mnist(t10k_images=np.zeros((20, 5, 7))))
    with pytest.raises(UserError, match="got '5 × 7'; expected 7 × 5"):
        content.open_test()


def test_real_mnist(mnist_root):
    content = mnist(mnist_root)
    assert content.train.pixels.shape == (60_000, 28, 28, 1)
    assert content.open_test().pixels.shape == (10_000, 28, 28, 1)
    # the first training labels, as every tutorial shows them
    assert content.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(content.train.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
