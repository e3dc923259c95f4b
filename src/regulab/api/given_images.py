"""``Study(data=…)``: images and labels as Python has them, into the arrays that a run directory keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.api.class_lists import class_list, refuse_other_classes
from regulab.api.samples import as_array, is_array, is_samples, read_samples
from regulab.data import given
from regulab.data.formats.array_keys import (
    ALL,
    CLASS_NAMES,
    IMAGES,
    LABELS,
    NOTES,
    TEST,
    TRAIN,
    VAL,
    WANTED,
    arrays_by_part,
)
from regulab.data.formats.array_labels import Labels, as_labels, refuse_single_class
from regulab.data.formats.array_pixels import as_pixels
from regulab.data.formats.split_folders import NAMES
from regulab.data.names import visible_list
from regulab.errors import UserError

ACCEPTED = (
    "a name, a path, arrays (x, y) or (x_train, y_train, x_test, y_test), a dataset of (image, label), "
    'or a mapping {"train": (x, y), "val": …, "test": …}'
)
SHOWN = 6  # things in a message
EACH_ONCE = 'train, val and test, each once: {"train": (x, y), "val": …, "test": …}'
ORDERS = {1: (ALL,), 2: (TRAIN, TEST), 3: (TRAIN, VAL, TEST)}


def images_name(value: Any) -> str:
    """What stands in a study for images that are Python objects: ``npz:given/HASH/images.npz``.

    They are copied, brought to bytes and held by this process (`regulab.data.given`). Raises `UserError` for what
    cannot be images and labels.
    """
    if hasattr(value, "batch_sampler") and hasattr(value, "dataset"):
        raise UserError(
            "a loader of batches, whose order and number of images change",
            got=type(value),
            expected="the dataset itself: loader.dataset; regulab draws the batches",
            where="data",
        )
    arrays: dict[str, NDArray[Any]] = {}
    notes: list[str] = []
    first: Labels | None = None
    names: tuple[str, ...] = ()  # what the first part, a dataset, calls its classes
    parts = _parts(value)
    for part in (ALL, TRAIN, VAL, TEST):
        if part not in parts:
            continue
        where = "data" if part == ALL else f"data, {part}"
        pixels, labels, declared, said = _read(parts[part], where)
        if first is None:
            first, names = labels, declared
            refuse_single_class(labels.names, where)
            if all(name.isdecimal() for name in labels.names):
                refuse_other_classes(parts)
        indices = labels.indices if labels is first else labels.among(first.names, where)
        prefix = "" if part == ALL else f"{part}_"
        stored = pixels[..., 0] if pixels.shape[3] == 1 else pixels
        arrays |= {
            f"{prefix}images": np.ascontiguousarray(stored),
            f"{prefix}labels": _numbers(first, names)[indices],
        }
        notes += [note for note in said if note not in notes]
    arrays |= {
        CLASS_NAMES: np.array(names or (first.names if first else ())),
        **({NOTES: np.array(notes)} if notes else {}),
    }
    return f"npz:{given.hold(arrays)}"


def _numbers(labels: Labels, declared: tuple[str, ...]) -> NDArray[np.int64]:
    """The number of each class: its place among the labels, or, where a dataset names its classes, its label."""
    return np.array([int(name) for name in labels.names] if declared else range(len(labels.names)), np.int64)


def _read(part: Any, where: str) -> tuple[NDArray[np.uint8], Labels, tuple[str, ...], tuple[str, ...]]:
    """Pixels, labels, the names that a dataset has for its classes, and what was done."""
    if _is_pair(part):
        images, raw = as_array(part[0], where), part[1]
        raw = as_array(raw, f"{where}, labels") if is_array(raw) else raw
    elif is_samples(part):
        images, raw = read_samples(part, where)
    else:
        raise UserError("no images and labels", got=type(part), expected=ACCEPTED, where=where)
    pixels, notes = as_pixels(images, where)
    labels = as_labels(raw, len(pixels), f"{where}, labels")
    return pixels, labels, _declared(part, labels), notes


def _declared(part: Any, labels: Labels) -> tuple[str, ...]:
    """The names of a dataset's classes, where it has some for labels that number them."""
    names = class_list(part)
    numbered = all(name.isdecimal() and int(name) < len(names) for name in labels.names)
    texts = all(isinstance(name, str) and name.strip() for name in names) and len(set(names)) == len(names)
    return names if names and numbered and texts else ()


def _parts(value: Any) -> dict[str, Any]:
    """What trains, validates and tests; ``all`` where that is to be cut."""
    if isinstance(value, Mapping):
        return _named_parts(value)
    if not isinstance(value, tuple | list) or _is_pair(value) or is_samples(value):
        return {ALL: value}
    if len(value) in (2, 3) and all(_is_pair(part) or is_samples(part) for part in value):
        return dict(zip(ORDERS[len(value)], value, strict=True))
    if len(value) in (4, 6):
        if is_array(value[1]) and len(value[1].shape) > 2:
            raise UserError(
                "images where labels belong",
                got=f"an array of the shape {np.shape(value[1])} in the second place",
                expected="(x_train, y_train, x_test, y_test): images and their labels side by side",
                where="data",
            )
        pairs = [(value[place], value[place + 1]) for place in range(0, len(value), 2)]
        return dict(zip(ORDERS[len(pairs)], pairs, strict=True))
    got = f"{type(value).__name__} of {len(value)}: {', '.join(map(_told, value[:SHOWN]))}"
    raise UserError("no images and labels", got=got, expected=ACCEPTED, where="data")


def _told(value: Any) -> str:
    """An array by its kind and shape, anything else by its type and length."""
    if is_array(value) and hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype} {tuple(value.shape)}"
    many = f" of {_length(value)}" if hasattr(value, "__len__") else ""
    return f"{type(value).__name__}{many}"


def has_arrays(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping holds arrays by names, as an ``.npz`` does, and no parts."""
    return not any(str(key).lower() in NAMES for key in value) and any(map(is_array, value.values()))


def _named_arrays(value: Mapping[Any, Any]) -> dict[str, Any]:
    """Images and labels of each part by the names that they have in an ``.npz``."""
    found, others = arrays_by_part(map(str, value), "data")
    others += [name for name in (CLASS_NAMES, NOTES) if name in value]
    if others:
        raise UserError("neither images nor labels", got=visible_list(others), expected=WANTED, where="data")
    return {part: (value[names[IMAGES]], value[names[LABELS]]) for part, names in found.items()}


def _named_parts(value: Mapping[Any, Any]) -> dict[str, Any]:
    if has_arrays(value):
        return _named_arrays(value)
    parts: dict[str, Any] = {}
    for key, part in value.items():
        name = NAMES.get(str(key).lower())
        if name is None or name in parts:
            problem = "two parts of one name" if name else "no part of a dataset"
            raise UserError(problem, got=key, expected=EACH_ONCE, where="data")
        parts[name] = part
    if TRAIN not in parts:
        raise UserError("nothing to train on", got=[*value], expected=EACH_ONCE, where="data")
    return parts


def _is_pair(value: Any) -> bool:
    """Whether a value is (images, labels): two of a kind that has many, the first with height and width."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        return False
    images, labels = value
    if isinstance(labels, str | bytes) or isinstance(images, str | bytes | Mapping):
        return False
    if isinstance(labels, tuple | list) and labels and is_array(labels[0]) and len(labels[0].shape) > 1:
        return False  # images where labels would stand: a pair of pairs
    if not is_array(images):  # a list of images, of which no two are (image, label)
        return isinstance(images, Sequence) and not is_samples(images) and _length(labels) == len(images)
    return len(images.shape) > 1 and _length(labels) > 0 and not is_samples(labels)


def _length(value: Any) -> int:
    try:
        return len(value)
    except TypeError:  # a number, or an array without dimensions
        return 0
