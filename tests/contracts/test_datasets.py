"""What every registered dataset promises; those that are not on this machine say how to get them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from regulab.data import datasets
from regulab.data.dataset import Images
from regulab.errors import UserError


@pytest.mark.parametrize("name", datasets())
def test_it_loads_or_says_how_to_fetch_it(name, tmp_path):
    dataset = datasets()[name]
    assert dataset.summary
    assert dataset.source
    if dataset.files:
        with pytest.raises(UserError, match=f"data fetch {name}"):
            dataset.load(tmp_path)
    root = Path(os.environ.get("REGULAB_DATA", tmp_path))
    try:
        content = dataset.load(root)
    except UserError as missing:
        pytest.skip(f"{name} is not under REGULAB_DATA: {missing}")
    test = content.open_test()
    classes = set(range(len(content.class_names)))
    for part, images in (("training", content.train), ("test", test)):
        found = set(np.unique(images.labels).tolist())
        assert found == classes, f"{name}: of the classes 0 to {len(classes) - 1} its {part} part has {found}"
    again = dataset.load(root)
    for part, first, second in (("training", content.train, again.train), ("test", test, again.open_test())):
        assert first.content_hash() == second.content_hash(), (
            f"{name}: loaded twice, its {part} part is another"
        )
    own = content.validation_indices
    assert own is None or (np.diff(own) > 0).all(), f"{name}: validation_indices are ascending, each once"


@pytest.mark.parametrize(
    ("pixels", "labels"),
    [
        (np.zeros((3, 8, 8, 1), np.float32), np.zeros(3, np.int64)),
        (np.zeros((3, 8, 8), np.uint8), np.zeros(3, np.int64)),
        (np.zeros((3, 8, 8, 1), np.uint8), np.zeros(3, np.int32)),
        (np.zeros((3, 8, 8, 1), np.uint8), np.zeros(2, np.int64)),
    ],
    ids=["not bytes", "no channels", "short labels", "a label is missing"],
)
def test_images_of_another_kind_are_refused_in_words(pixels, labels):
    with pytest.raises(AssertionError, match=r"pixels are uint8 \(N, H, W, C\), labels int64 \(N,\); got"):
        Images(pixels, labels)
