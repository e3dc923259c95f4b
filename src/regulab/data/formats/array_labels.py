"""Labels as people have them (numbers, texts, anything that can be told apart) to names of classes and indices."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.data.names import refuse_unprintable, visible, visible_list
from regulab.errors import UserError

NUMBERS = {int, float, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.float32, np.float64}
EXACT = 2**53  # above it neighbouring whole numbers are one float
ONE_EACH = "one label for each image: (N,) or (N, 1)"


@dataclass(frozen=True, eq=False)
class Labels:
    """The class of each image, as an index ``(N,)`` into the names of the classes."""

    names: tuple[str, ...]  # numbers in their order, all else in that of its text
    indices: NDArray[np.int64]

    def among(self, names: tuple[str, ...], where: str) -> NDArray[np.int64]:
        """Indices into other names; raises `UserError` for a label that is not among them."""
        foreign = [name for name in self.names if name not in set(names)]
        if foreign:
            raise UserError(
                "labels that no training image has",
                got=visible_list(foreign),
                expected=visible_list(names, 20),
                where=where,
            )
        places = np.array([names.index(name) for name in self.names], np.int64)
        return places[self.indices]


def as_labels(raw: Any, count: int, where: str) -> Labels:
    """Labels of ``count`` images: an array ``(N,)`` or ``(N, 1)``, or a sequence of anything hashable.

    Raises `UserError` for another number of them, for several labels of an image, and for what is no label: None, NaN,
    an empty text.
    """
    array = raw if isinstance(raw, np.ndarray) else _array_of(raw, where)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        _refuse_several(array, where)
    if len(array) != count:
        raise UserError(
            "the number of labels differs from the number of images",
            got=f"{len(array):,} labels",
            expected=f"{count:,}",
            where=where,
        )
    return _of_objects(array.tolist(), where) if array.dtype.kind == "O" else _of_array(array, where)


def refuse_single_class(names: Sequence[str], where: str) -> None:
    """Raises `UserError` where there is nothing to tell apart."""
    if len(names) < 2:
        got = visible_list(list(names)) or "none"
        raise UserError("fewer than two classes", got=got, expected="labels of two classes", where=where)


def _array_of(raw: Any, where: str) -> NDArray[Any]:
    """A sequence as an array, of objects where its items are not all numbers or all texts: numpy would make texts of
    both."""
    try:
        items = [_plain(item) for item in raw]
    except TypeError:
        raise UserError("no labels", got=type(raw).__name__, expected=ONE_EACH, where=where) from None
    kinds = {type(item) for item in items}
    if kinds <= {str, np.str_} or kinds <= NUMBERS or kinds == {bytes}:
        return np.array(items) if items else np.array([], np.int64)
    if any(np.ndim(item) > 0 for item in items if not isinstance(item, str | tuple | frozenset)):
        try:
            return np.stack([np.asarray(item) for item in items])
        except ValueError:
            raise UserError("several labels of an image", expected=ONE_EACH, where=where) from None
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _plain(item: Any) -> Any:
    """A scalar of numpy or a tensor without dimensions as its value: two tensors are never equal as keys."""
    scalar = isinstance(item, np.generic) or (hasattr(item, "detach") and np.ndim(item) == 0)
    return item.item() if scalar else item


def _refuse_several(array: NDArray[Any], where: str) -> None:
    got = f"labels of the shape {array.shape}"
    if array.ndim == 2 and array.dtype.kind in "biuf" and _one_hot(array):
        expected = "their places instead of one-hot rows: labels.argmax(1)"
        raise UserError("one-hot labels", got=got, expected=expected, where=where)
    raise UserError(
        "several labels of an image: every image has one class here", got=got, expected=ONE_EACH, where=where
    )


def _one_hot(rows: NDArray[Any]) -> bool:
    return bool(((rows == 0) | (rows == 1)).all() and ((rows == 1).sum(axis=1) == 1).all())


def _of_array(array: NDArray[Any], where: str) -> Labels:
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            _refuse_missing(~np.isfinite(array), where)
        if not (array == np.rint(array)).all():
            got = float(array[(array != np.rint(array)).argmax()])
            raise UserError(
                "numbers that name no class", got=got, expected="whole numbers or texts", where=where
            )
        if np.abs(array).max(initial=0) > EXACT:
            got, expected = float(np.abs(array).max()), "whole numbers that floats tell apart, or texts"
            raise UserError("numbers that name no class", got=got, expected=expected, where=where)
        array = array.astype(np.int64)
    if array.dtype.kind not in "biuUS":
        raise UserError(
            "labels of an unknown kind", got=str(array.dtype), expected="numbers or texts", where=where
        )
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                "labels that are no UTF-8",
                got=str(error.object),
                expected="texts, or bytes in UTF-8",
                where=where,
            ) from None
    if array.dtype.kind == "U":
        _refuse_missing(np.char.str_len(np.char.strip(array)) == 0, where)
    values, indices = np.unique(array, return_inverse=True)
    return _named([str(value) for value in values.tolist()], indices, where)


def _of_objects(items: Sequence[Any], where: str) -> Labels:
    missing = [item is None or item != item or (isinstance(item, str) and not item.strip()) for item in items]
    _refuse_missing(np.array(missing, bool), where)
    for index, item in enumerate(items):
        if not isinstance(item, Hashable):
            got = f"{type(item).__name__} for image {index}"
            raise UserError("a label that cannot name a class", got=got, expected=ONE_EACH, where=where)
    values = list(dict.fromkeys(items))
    numbers = all(type(value) in (int, bool) for value in values)
    values.sort(key=None if numbers else str)
    places = {value: place for place, value in enumerate(values)}
    indices = np.array([places[item] for item in items], np.int64)
    return _named([str(value) for value in values], indices, where)


def _named(names: list[str], indices: NDArray[Any], where: str) -> Labels:
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise UserError(
            "different labels with the same text",
            got=visible(min(twice)),
            expected="one kind of label",
            where=where,
        )
    for name in names:
        refuse_unprintable(name, where)
    return Labels(tuple(names), indices.astype(np.int64))


def _refuse_missing(missing: NDArray[np.bool_], where: str) -> None:
    count = int(missing.sum())
    if count:
        raise UserError(
            "images without a label",
            got=f"{count:,}, the first is image {int(missing.argmax())}",
            expected="a label for each image",
            where=where,
        )
