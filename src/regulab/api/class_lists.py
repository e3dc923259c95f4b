"""What the datasets of a person call the numbers of their labels: one list for all parts, or the numbers differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from regulab.data.names import visible_list
from regulab.errors import UserError

TORCH = "torch.utils.data.dataset"  # whose datasets of datasets leave labels as they are
DEEPEST = 10  # datasets in datasets
SHOWN = 12


def class_list(part: Any) -> tuple[str, ...]:
    """The names in the order of the labels' numbers: Hugging Face's ``features``, torchvision's ``classes``."""
    features = getattr(part, "features", None)
    feature = features.get("label") if isinstance(features, Mapping) else None
    found = getattr(feature, "names", None) or getattr(part, "classes", None)
    return tuple(found) if isinstance(found, list | tuple) else ()


def refuse_other_classes(parts: Mapping[str, Any]) -> None:
    """Raises `UserError` where two datasets, of two parts or within one, name their classes differently.

    The same number would be another class: an ``ImageFolder`` numbers the folders that it finds, so a test folder that
    lacks one class moves all behind it by one.
    """
    first: tuple[str, tuple[str, ...]] | None = None
    for name, part in parts.items():
        for found in _lists_within(part):
            first = first or (name, found)
            if found != first[1]:
                raise UserError(
                    "datasets with other lists of classes: the same number would be another class",
                    got=f"{visible_list([*map(str, first[1])], SHOWN)} ({first[0]}) and "
                    f"{visible_list([*map(str, found)], SHOWN)} ({name})",
                    expected="one list, in one order, for all: labels by the first one's numbers (target_transform), "
                    "or as names",
                    where="data",
                )


def _lists_within(part: Any, depth: int = 0) -> Iterator[tuple[str, ...]]:
    """The lists of a dataset, or of those that torch's ``Subset`` and ``ConcatDataset`` take their samples from."""
    if type(part).__module__ == TORCH and depth < DEEPEST:
        inner = getattr(part, "datasets", None) or [getattr(part, "dataset", None)]
        for one in inner:
            yield from _lists_within(one, depth + 1)
        return
    found = class_list(part)
    if found:
        yield found
