"""What every registered dataset promises; those that are not on this machine say how to get them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from regulab.data import datasets
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
    for images in (content.train, content.open_test()):
        assert images.pixels.dtype == np.uint8
        assert images.pixels.ndim == 4
        assert set(np.unique(images.labels)) == set(range(len(content.class_names)))
    assert content.content_hash == dataset.load(root).content_hash
