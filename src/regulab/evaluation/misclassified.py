"""Misclassified images: those that any run got wrong, kept so that galleries need no dataset."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from regulab.data.dataset import Images
from regulab.data.stored_pixels import chosen
from regulab.records import Mistakes, Predictions


def collect_mistakes(predictions: Iterable[Predictions], test: Images) -> Mistakes:
    """The union over runs of the misclassified test images, with their indices, ascending, and their
    files where they have some. Pixels that lie in a file stay there."""
    wrong = [p.wrong for p in predictions]
    indices = np.unique(np.concatenate(wrong)) if wrong else np.empty(0, np.int64)
    files = None if test.files is None else test.files[indices]
    return Mistakes(indices=indices.astype(np.int64), images=chosen(test.pixels, indices), files=files)
