import numpy as np
import pytest

from regulab.config import Data, Protocol
from regulab.data import DatasetContent, Images, find_dataset, load, split
from regulab.errors import UserError

DIGITS = find_dataset("digits").load(None)


def content(labels, test=20, validation_indices=None) -> DatasetContent:
    """Images of one pixel whose value is their index, so that parts show where they came from."""

    def images(labels):
        labels = np.asarray(labels, np.int64)
        return Images(np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1), labels)

    train = images(labels)
    return DatasetContent(
        name="made",
        class_names=("a", "b", "c"),
        train=train,
        validation_indices=validation_indices,
        open_test=lambda: images(np.arange(test) % 3),
        content_hash=train.content_hash(),
    )


def origin(images: Images) -> list[int]:
    return images.pixels.ravel().tolist()


def test_digits_sizes_and_strata():
    splits = load(Data(name="digits"), Protocol(), None)
    test = splits.open_test()
    assert [len(splits.train), len(splits.validation), len(test)] == [1077, 360, 360]
    classes = np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    for part in (splits.validation, test):
        assert np.abs(np.bincount(part.labels) - classes * 360 / 1797).max() < 1.5
        assert part.pixels.shape == (360, 8, 8, 1)
    assert splits.class_names == tuple("0123456789")
    assert splits.dataset == "digits"


def test_digits_parts_hold_every_image_once_with_its_intensity():
    from sklearn.datasets import load_digits

    splits = load(Data(name="digits"), Protocol(), None)
    parts = [splits.train, splits.validation, splits.open_test()]
    pixels = np.concatenate([part.pixels for part in parts]).reshape(-1, 64)
    labels = np.concatenate([part.labels for part in parts])
    got = sorted(zip(np.rint(pixels / (255 / 16)).astype(int).tolist(), labels.tolist(), strict=True))
    bunch = load_digits()
    assert got == sorted(zip(bunch.data.astype(int).tolist(), bunch.target.tolist(), strict=True))
    assert pixels.max() == 255


def test_digits_split_is_frozen():
    """A change here changes every study on digits."""
    splits = split(DIGITS, Protocol())
    assert splits.index_hash[:16] == "bc3c4a97692c38de"
    assert splits.content_hash[:16] == "b5fbc3a88e5b18f3"


def test_digits_explicit_validation_overrides_its_own():
    splits = split(DIGITS, Protocol(validation=100))
    assert [len(splits.train), len(splits.validation)] == [1337, 100]
    assert splits.index_hash != split(DIGITS, Protocol()).index_hash


@pytest.mark.parametrize(("asked", "count"), [(None, 15), (12, 12), (0.1, 9), (0.5, 45), (87, 87)])
def test_holdout_cuts_validation_from_training_by_class(asked, count):
    splits = split(content(np.arange(90) % 3), Protocol(validation=asked))
    assert np.ptp(np.bincount(splits.validation.labels, minlength=3)) <= 1
    assert len(splits.validation) == count
    assert sorted(origin(splits.train) + origin(splits.validation)) == list(range(90))
    for part in (splits.train, splits.validation):
        assert part.labels.tolist() == [index % 3 for index in origin(part)]


def test_the_datasets_own_validation_part_is_kept():
    splits = split(content(np.arange(9) % 3, validation_indices=np.array([6, 7, 8])), Protocol())
    assert origin(splits.train) == [0, 1, 2, 3, 4, 5]
    assert origin(splits.validation) == [6, 7, 8]


def test_course_trains_on_everything_and_validates_on_the_test_split():
    splits = split(content(np.arange(9) % 3, validation_indices=np.array([6])), Protocol(kind="course"))
    assert origin(splits.train) == list(range(9))
    assert len(splits.validation) == 20
    assert splits.open_test() is splits.validation


def test_holdout_does_not_open_the_test_split():
    opened = []
    made = content(np.arange(12) % 3)
    watched = DatasetContent(
        class_names=made.class_names,
        train=made.train,
        validation_indices=None,
        open_test=lambda: opened.append(1) or made.open_test(),
        content_hash="",
    )
    splits = split(watched, Protocol())
    assert opened == []
    splits.open_test()
    assert opened == [1]


@pytest.mark.parametrize("asked", [88, 90, 1000, 0.001, 0.99])
def test_impossible_validation_parts(asked):
    with pytest.raises(UserError, match=r"protocol\.validation.*90 training images.*1 to 87 images"):
        split(content(np.arange(90) % 3), Protocol(validation=asked))


def test_the_index_hash_tells_splits_apart_and_repeats():
    made = content(np.arange(20) % 3, test=20)
    protocols = [Protocol(), Protocol(validation=4), Protocol(kind="course")]
    hashes = [split(made, protocol).index_hash for protocol in protocols]
    assert len(set(hashes)) == 3
    assert hashes == [split(made, protocol).index_hash for protocol in protocols]


def test_the_content_hash_sees_pixels_labels_and_shape():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    labels = np.array([0, 1])
    altered = pixels.copy()
    altered[1, 2, 3, 0] ^= 1
    variants = [
        Images(pixels, labels),
        Images(altered, labels),
        Images(pixels, np.array([1, 0])),
        Images(pixels.reshape(2, 4, 3, 1), labels),
    ]
    assert len({images.content_hash() for images in variants}) == 4
    assert Images(pixels.copy(), labels.copy()).content_hash() == variants[0].content_hash()


def test_real_mnist_holdout(mnist_root):
    splits = load(Data(name="mnist"), Protocol(), mnist_root)
    assert [len(splits.train), len(splits.validation)] == [50_000, 10_000]
    share = np.bincount(splits.validation.labels) / np.bincount(splits.train.labels)
    assert np.abs(share - 0.2).max() < 1e-3


def test_fewer_train_images_are_stratified_and_a_part_of_more():
    made = content(np.arange(90) % 3)
    everything = split(made, Protocol(validation=12))
    parts = {n: split(made, Protocol(validation=12), n) for n in (6, 15, 60)}
    for n, part in parts.items():
        assert np.bincount(part.train.labels).tolist() == [n / 3] * 3
        assert origin(part.validation) == origin(everything.validation)
        assert set(origin(part.train)) <= set(origin(everything.train))
        assert part.train.labels.tolist() == [index % 3 for index in origin(part.train)]
    assert set(origin(parts[6].train)) < set(origin(parts[15].train)) < set(origin(parts[60].train))
    assert len({part.index_hash for part in (everything, *parts.values())}) == 4


def test_as_many_train_images_as_there_are_is_all_of_them():
    made = content(np.arange(90) % 3)
    assert (
        split(made, Protocol(validation=12), 78).index_hash == split(made, Protocol(validation=12)).index_hash
    )


@pytest.mark.parametrize("kind", ["holdout", "course"])
def test_too_many_train_images_are_refused(kind):
    with pytest.raises(UserError) as refused:
        split(content(np.arange(90) % 3), Protocol(kind=kind), 91)
    assert "91" in str(refused.value)
    assert "data.train_images" in str(refused.value)


def test_fewer_train_images_under_course_leave_the_test_split_whole():
    splits = split(content(np.arange(90) % 3), Protocol(kind="course"), 9)
    assert np.bincount(splits.train.labels).tolist() == [3, 3, 3]
    assert origin(splits.validation) == origin(splits.open_test()) == list(range(20))


def test_no_validation_part_of_classes_of_one_image():
    with pytest.raises(
        UserError, match=r"no class has a training image to spare; got '3 training images of 3 classes'"
    ):
        split(content([0, 1, 2]), Protocol())
