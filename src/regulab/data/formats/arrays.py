"""From arrays of images and labels, in a file or given from Python, to a dataset's content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regulab.data.cutting import fifth, fifths
from regulab.data.dataset import DatasetContent, Images
from regulab.data.formats.array_groups import named_groups
from regulab.data.formats.array_keys import (
    ALL,
    CLASS_NAMES,
    IMAGES,
    LABELS,
    NO_TEST,
    NOTES,
    TEST,
    TRAIN,
    VAL,
    arrays_by_part,
)
from regulab.data.formats.array_labels import as_labels, refuse_single_class
from regulab.data.formats.array_pixels import DARK, as_pixels
from regulab.data.groups import Labelled, with_groups
from regulab.data.names import refuse_unprintable, visible_list
from regulab.data.stored_pixels import Pixels, chunks
from regulab.errors import UserError

SPLITS = "arrays of a training and a test part"


class Arrays(Protocol):
    """Arrays by name: shapes at once, values when they are asked for."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...

    def read(self, name: str) -> NDArray[Any]: ...


@dataclass(frozen=True)
class ArraySource:
    """Where arrays come from, and what the numbers of their labels are called if that is known."""

    name: str  # of the dataset
    arrays: Arrays
    where: str
    class_names: tuple[str, ...] | None = None
    group: str | None = None  # the name of the arrays of groups: ``patient`` or ``train_patient`` …

    def groups(self, part: str, images: Mapping[str, str]) -> list[str] | None:
        """The name of each image's group, of a part whose arrays are ``images``; None where none are asked for."""
        if self.group is None:
            return None
        names = [self.group] if part == ALL else [f"{part}_{self.group}"] + [self.group] * (part == TRAIN)
        there = [name for name in names if name in self.arrays.shapes]
        if not there:
            raise UserError(
                "no array of groups",
                got=f"{visible_list([*self.arrays.shapes], 20)}, and data.group {self.group}",
                expected=" or ".join(names),
                where=self.where,
            )
        count = self.arrays.shapes[images[IMAGES]][0]
        return named_groups(self.arrays.read(there[0]), count, f"{self.where}, {there[0]}")

    def is_group(self, name: str) -> bool:
        return self.group is not None and name.removeprefix(name.partition("_")[0] + "_") == self.group

    def images(self, names: Mapping[str, str]) -> tuple[NDArray[np.uint8], Any, tuple[str, ...]]:
        """Pixels, labels as they are, and notes, of a part's arrays."""
        pixels, notes = as_pixels(self.arrays.read(names[IMAGES]), f"{self.where}, {names[IMAGES]}")
        return pixels, self.arrays.read(names[LABELS]), notes


def content_of(source: ArraySource) -> DatasetContent:
    """The content of arrays whose names say what they are (see `arrays_by_part`).

    Images stand in the order in which they are given, those of a validation part behind those that train. Class names
    are those of the source, of an array ``class_names``, or the labels themselves. The values of the test part are not
    read before ``open_test`` is called, unless it has to be cut out of the images that train.
    """
    parts, others = arrays_by_part(source.arrays.shapes, source.where)
    notes = _kept_notes(source)
    others = [name for name in others if name != source.group and not source.is_group(name)]
    if others:
        notes += (
            f"arrays that by their names are neither images nor labels were left out: {visible_list(others)}",
        )
    source = replace(source, class_names=source.class_names or _declared_names(source))
    if TEST not in parts and VAL not in parts:
        return _cut(
            source, ALL if ALL in parts else TRAIN, parts, notes if ALL in parts else (*notes, NO_TEST)
        )
    train, class_names = _training(source, parts[TRAIN])
    groups = source.groups(TRAIN, parts[TRAIN])
    if TEST in parts:
        open_test, test_groups = (
            partial(_other, source, parts[TEST], class_names, train),
            source.groups(TEST, parts[TEST]),
        )
    else:
        rest, tests = fifth(Labelled.of(train.labels, class_names, groups), source.where, SPLITS)
        open_test, test_groups = partial(train.take, tests), _those(groups, tests)
        groups, notes = _those(groups, rest), (*notes, NO_TEST)
        train = replace(train.take(rest), notes=train.notes)
    indices = None
    if VAL in parts:
        val = _other(source, parts[VAL], class_names, train)
        indices = np.arange(len(train), len(train) + len(val))
        train = _joined(train, val)
        groups = None if groups is None else groups + (source.groups(VAL, parts[VAL]) or [])
    content = DatasetContent(
        name=source.name,
        class_names=class_names,
        train=train,
        validation_indices=indices,
        open_test=open_test,
        content_hash=train.content_hash(),
        notes=notes,
    )
    return content if groups is None or test_groups is None else with_groups(content, groups, test_groups)


def _those(groups: list[str] | None, indices: NDArray[np.int64]) -> list[str] | None:
    return None if groups is None else [groups[index] for index in indices]


def _training(source: ArraySource, names: Mapping[str, str]) -> tuple[Images, tuple[str, ...]]:
    pixels, raw, notes = source.images(names)
    where = f"{source.where}, {names[LABELS]}"
    labels = as_labels(raw, len(pixels), where)
    class_names = source.class_names or labels.names
    refuse_single_class(labels.names, where)
    indices = _numbered(raw, source.class_names, where) if source.class_names else labels.indices
    return Images(pixels, indices, notes), class_names


def _other(
    source: ArraySource, names: Mapping[str, str], class_names: tuple[str, ...], train: Images
) -> Images:
    """The images of a part that does not train, which are of the same size and of the same classes."""
    pixels, raw, notes = source.images(names)
    where = f"{source.where}, {names[LABELS]}"
    if pixels.shape[1:] != train.pixels.shape[1:]:
        raise UserError(
            "images of another size or other channels than those that train",
            got=" × ".join(map(str, pixels.shape[1:])),
            expected=" × ".join(map(str, train.pixels.shape[1:])),
            where=f"{source.where}, {names[IMAGES]}",
        )
    _refuse_other_scale(pixels, train.pixels, f"{source.where}, {names[IMAGES]}")
    labels = as_labels(raw, len(pixels), where)
    indices = _numbered(raw, class_names, where) if source.class_names else labels.among(class_names, where)
    return Images(pixels, indices, notes)


def _refuse_other_scale(pixels: NDArray[np.uint8], training: Pixels, where: str) -> None:
    """Raises `UserError` where one of two parts has the levels 0 and 1 only, and the other goes on to many."""
    most, most_training = int(pixels.max()), max(int(part.max()) for part in chunks(training))
    if 1 in (most, most_training) and max(most, most_training) > DARK:
        raise UserError(
            "levels of another scale than those of the images that train",
            got=f"levels up to {most}",
            expected=f"one scale for all parts; the training images have levels up to {most_training}",
            where=where,
        )


def _numbered(raw: Any, class_names: tuple[str, ...], where: str) -> NDArray[np.int64]:
    """Labels that are the places of their classes in a list of names."""
    labels = np.asarray(raw).reshape(-1)
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(class_names):
        got = (
            f"{labels.dtype} from {labels.min()} to {labels.max()}"
            if labels.dtype.kind in "iu"
            else labels.dtype
        )
        raise UserError(
            "labels that are not numbers of classes",
            got=str(got),
            expected=f"0 to {len(class_names) - 1}: {visible_list(class_names)}",
            where=where,
        )
    return labels.astype(np.int64)


def _cut(
    source: ArraySource, part: str, parts: Mapping[str, Mapping[str, str]], notes: tuple[str, ...]
) -> DatasetContent:
    images, class_names = _training(source, parts[part])
    groups = source.groups(part, parts[part])
    rest, validation, test = fifths(Labelled.of(images.labels, class_names, groups), source.where, SPLITS)
    train = replace(images.take(rest), notes=images.notes)
    content = DatasetContent(
        name=source.name,
        class_names=class_names,
        train=train,
        validation_indices=validation,
        open_test=lambda: images.take(test),
        content_hash=train.content_hash(),
        notes=notes,
    )
    if groups is None:
        return content
    return with_groups(content, [groups[index] for index in rest], [groups[index] for index in test])


def _joined(one: Images, other: Images) -> Images:
    pixels = np.concatenate((one.pixels, other.pixels))
    return Images(
        pixels, np.concatenate((one.labels, other.labels)), tuple(dict.fromkeys(one.notes + other.notes))
    )


def _declared_names(source: ArraySource) -> tuple[str, ...] | None:
    if CLASS_NAMES not in source.arrays.shapes:
        return None
    where = f"{source.where}, {CLASS_NAMES}"
    names = source.arrays.read(CLASS_NAMES)
    if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) < len(names):
        raise UserError(
            "no list of class names",
            got=f"{names.dtype} of the shape {names.shape}",
            expected="texts, each once, in the order of the labels' numbers",
            where=where,
        )
    for name in names.tolist():
        refuse_unprintable(name, where)
    return tuple(names.tolist())


def _kept_notes(source: ArraySource) -> tuple[str, ...]:
    """What was done to arrays that were given from Python, before they became a file."""
    if NOTES not in source.arrays.shapes:
        return ()
    return tuple(str(note) for note in source.arrays.read(NOTES).reshape(-1).tolist())
