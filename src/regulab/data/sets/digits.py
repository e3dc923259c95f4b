"""The UCI handwritten digits that scikit-learn carries: small enough to try things on, always there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from regulab.data.dataset import Dataset, DatasetContent, Images
from regulab.data.stratify import stratified


def _load(root: Path) -> DatasetContent:
    """1,077 training, 360 validation and 360 test images, each part stratified by class and fixed.

    The test part is cut first, by `stratified` with the key "test"; the validation part out of the other
    1,437 images, with the key "validation". Intensities 0 to 16 become ``round(255·v/16)``.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    test = stratified(labels, 360, "test")
    rest = np.setdiff1d(np.arange(len(labels)), test, assume_unique=True)

    def images(indices: np.ndarray) -> Images:
        pixels = np.rint(bunch.images[indices] * (255 / 16)).astype(np.uint8)
        return Images(pixels[..., np.newaxis], labels[indices])

    train = images(rest)
    return DatasetContent(
        name="digits",
        class_names=tuple("0123456789"),
        train=train,
        validation_indices=stratified(train.labels, 360, "validation"),
        open_test=lambda: images(test),
        content_hash=train.content_hash(),
    )


DIGITS = Dataset(
    name="digits",
    summary="1,797 handwritten digits of 8 × 8 pixels, embedded; 1,077 train, 360 validate, 360 test",
    source="E. Alpaydin, C. Kaynak 1998, Optical Recognition of Handwritten Digits, UCI, doi:10.24432/C50P49",
    licence="CC BY 4.0",
    load=_load,
)
