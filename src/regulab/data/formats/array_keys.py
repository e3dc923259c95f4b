"""What the arrays of an ``.npz`` are called: MedMNIST's ``train_images``, Keras's ``x_train``, or ``images`` alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from regulab.data.formats.split_folders import NAMES
from regulab.data.names import visible_list
from regulab.errors import UserError

IMAGES, LABELS = "images", "labels"
TRAIN, VAL, TEST, ALL = "train", "val", "test", "all"
KIND_WORDS = {
    **dict.fromkeys(("images", "image", "imgs", "img", "x", "data", "pixels"), IMAGES),
    **dict.fromkeys(("labels", "label", "y", "targets", "target"), LABELS),
}
CLASS_NAMES, NOTES = "class_names", "notes"
NO_TEST = "there is no test part: a fixed fifth of the training images, stratified by class, tests and does not train"
WANTED = (
    "train_images, train_labels, test_images, test_labels (and val_images, val_labels), "
    "x_train, y_train, x_test, y_test, or images and labels alone"
)


def arrays_by_part(names: Iterable[str], where: str) -> tuple[Mapping[str, Mapping[str, str]], list[str]]:
    """``part -> images or labels -> name`` of what is there, and the names that say neither.

    The one part is ``all`` where nothing says which images train. Raises `UserError` for two names of one array, for
    images without labels or labels without images, and where there is nothing to train on.
    """
    found: dict[str, dict[str, str]] = {}
    others = []
    for name in names:
        part, kind = _meaning(name)
        if kind is None:
            if name not in (CLASS_NAMES, NOTES):
                others.append(name)
            continue
        arrays = found.setdefault(part, {})
        if kind in arrays:
            raise UserError(
                f"two arrays of {kind}", got=f"{arrays[kind]} and {name}", expected=WANTED, where=where
            )
        arrays[kind] = name
    _refuse_incomplete(found, [*names], where)
    return found, others


def _meaning(name: str) -> tuple[str, str | None]:
    """Which part an array is of, and whether it holds images or labels; None: neither."""
    words = [word for word in re.split(r"[\W_]+", name.lower()) if word]
    if len(words) == 1:
        if words[0] in KIND_WORDS:
            return ALL, KIND_WORDS[words[0]]
        letters = re.fullmatch(r"([xy])([a-z]+)|([a-z]+)([xy])", words[0])
        words = [letter for letter in letters.groups() if letter] if letters else words
    if len(words) == 2:
        for part, kind in (words, reversed(words)):
            if part in NAMES and kind in KIND_WORDS:
                return NAMES[part], KIND_WORDS[kind]
    return ALL, None


def _refuse_incomplete(found: Mapping[str, Mapping[str, str]], names: list[str], where: str) -> None:
    listed = visible_list(names, 20) or "nothing"
    for part, arrays in found.items():
        for kind, other in ((IMAGES, LABELS), (LABELS, IMAGES)):
            if kind not in arrays:
                why = " (accuracy is counted on them)" if (part, kind) == (TEST, LABELS) else ""
                raise UserError(
                    f"{arrays[other]} without {kind}{why}", got=listed, expected=WANTED, where=where
                )
    if ALL in found and len(found) > 1:
        raise UserError("arrays of a split and arrays of none", got=listed, expected=WANTED, where=where)
    if TRAIN not in found and ALL not in found:
        raise UserError("nothing to train on", got=listed, expected=WANTED, where=where)
