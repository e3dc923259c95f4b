"""How many images of a large dataset a lesson takes that trains many networks."""

from __future__ import annotations

from typing import Any

from regulab.lessons.kit.laboratory import Laboratory

VALIDATION = 1000


def few_images(laboratory: Laboratory, train: int) -> dict[str, Any]:
    """Keys of a study: ``train`` images and 1,000 to validate, or all of a part that has no more than that."""
    if laboratory.embedded:
        return {}
    splits = laboratory.splits()
    content: dict[str, Any] = {}
    if len(splits.train) > train:
        content["data"] = {"train_images": train}
    if len(splits.validation) > VALIDATION:
        content["protocol"] = {"validation": VALIDATION}
    return content
