"""Datasets that name the classes of their numbers: one list for all, or the same number would be another class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch.utils.data import ConcatDataset, Dataset, Subset

import regulab as rl
from regulab.data import find_dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 4, 4), np.uint8)


class Named(Dataset):
    """As torchvision's ``ImageFolder``: labels number the folders that are there."""

    def __init__(self, *classes: str, names: bool = False) -> None:
        self.classes, self._names = list(classes), names

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int | str]:
        label = index % len(self.classes)
        return PIXELS[index], self.classes[label] if self._names else label


FULL = Named("cat", "dog", "eel")
WRONG: dict[str, Any] = {
    "a class is missing": (FULL, Named("cat", "eel")),
    "another order": (FULL, Named("dog", "cat", "eel")),
    "a subset": (Subset(FULL, range(20)), Subset(Named("cat", "eel"), range(20))),
    "within one": ConcatDataset([FULL, Named("cat", "eel")]),
}


@pytest.mark.parametrize("name", WRONG)
def test_numbers_of_other_classes_are_refused(name):
    with pytest.raises(rl.UserError, match=r"other lists of classes.*cat, dog, eel .* and .*eel"):
        rl.Study(data=WRONG[name])


def test_the_same_list_or_names_as_labels_will_do():
    for other in (Named("cat", "dog", "eel"), Subset(FULL, range(9))):
        content = find_dataset(rl.Study(data=(FULL, other)).data).load(None)
        assert content.class_names == ("cat", "dog", "eel")
    named = rl.Study(data=(Named("cat", "dog", "eel", names=True), Named("eel", "cat", names=True)))
    content = find_dataset(named.data).load(None)
    assert content.class_names == ("cat", "dog", "eel")
    assert content.open_test().labels.tolist() == [2, 0] * 15
