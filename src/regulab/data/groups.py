"""Groups of images that belong together: one patient's, one burst's. None stands on both sides of a split.

Parts are cut group by group, so that what a network knows of a patient by heart helps it nowhere. Sizes and classes
come out as near to those asked for as whole groups allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regulab.data.dataset import DatasetContent, Images
from regulab.data.names import visible, visible_list
from regulab.data.stratify import SPLITS, stratified
from regulab.errors import UserError

WHERE = "data.group"
SHOWN = 5  # groups in a message
Indices = NDArray[np.int64]


def numbered(*parts: Sequence[str]) -> tuple[list[Indices], tuple[str, ...]]:
    """Each part's group names as numbers, the same ones in every part, and the names that they stand for, sorted."""
    names = tuple(sorted({name for part in parts for name in part}))
    number = {name: place for place, name in enumerate(names)}
    return [np.array([number[name] for name in part], np.int64) for part in parts], names


def with_groups(content: DatasetContent, train: Sequence[str], test: Sequence[str]) -> DatasetContent:
    """The content with the groups of its training and test images, by their names in the order of the images."""
    (train_groups, test_groups), names = numbered(train, test)
    return replace(
        content,
        train=replace(content.train, groups=train_groups),
        open_test=lambda: replace(content.open_test(), groups=test_groups),
        group_names=names,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """The classes of N images, and their groups if they have some, as numbers ``(N,)`` with what these stand for."""

    labels: Indices
    class_names: Sequence[str]
    groups: Indices | None = None
    group_names: Sequence[str] = ()

    @classmethod
    def of(cls, labels: Indices, class_names: Sequence[str], groups: Sequence[str] | None) -> Labelled:
        """With the groups by name."""
        if groups is None:
            return cls(labels=labels, class_names=class_names)
        (numbers,), names = numbered(groups)
        return cls(labels=labels, class_names=class_names, groups=numbers, group_names=names)

    def take(self, indices: Indices) -> Labelled:
        groups = None if self.groups is None else self.groups[indices]
        return replace(self, labels=self.labels[indices], groups=groups)


def part_of(images: Labelled, count: int, part: str, *, keep: int = 1) -> Indices:
    """Indices of a part of ``count`` images, stratified by class (see `stratified`), or of whole groups where there are
    some (see `grouped`)."""
    if images.groups is None:
        return stratified(images.labels, count, part)
    return grouped(images, count, part, keep=keep)


@dataclass
class _Cut:
    """A part that grows and shrinks by whole groups, towards ``count`` images with each class in proportion.

    The distance is the sum of squares, over the classes and over all images together, of how many the part has too
    many, each divided by how many there are of the class: two images too many of a rare class are worse than two of a
    frequent one. It is kept in whole numbers, so that it is the same on every machine.
    """

    labels: NDArray[np.int64]  # (N,)
    groups: NDArray[np.int64]  # (N,)
    count: int
    keep: int  # how many groups of each class have to stay outside

    def __post_init__(self) -> None:
        self.total = len(self.labels)
        self.classes = int(self.labels.max()) + 1
        pairs, sizes = np.unique(self.groups * self.classes + self.labels, return_counts=True)
        self.images: dict[int, dict[int, int]] = {}  # group -> class -> how many images
        for pair, size in zip(pairs.tolist(), sizes.tolist(), strict=True):
            self.images.setdefault(pair // self.classes, {})[pair % self.classes] = size
        # groups of each class
        self.outside = np.bincount(pairs % self.classes, minlength=self.classes).tolist()
        self.inside = [0] * self.classes
        all_images = [*np.bincount(self.labels, minlength=self.classes).tolist(), self.total]
        # times total; the last is of all classes
        self.excess = [-self.count * images for images in all_images]
        self.weights = [self.total // max(1, images) for images in all_images]
        self.weights[-1] = len(np.unique(self.labels))  # the whole as much as all classes together
        self.chosen: set[int] = set()

    def _change(self, group: int) -> list[tuple[int, int]]:
        """What moving the group in or out adds to the number of images of each class, and to that of all."""
        sign, images = -1 if group in self.chosen else 1, self.images[group]
        return [*((label, sign * size) for label, size in images.items()), (-1, sign * sum(images.values()))]

    def gain(self, group: int) -> int:
        """How much the distance grows when the group moves in or out."""
        return sum(
            self.weights[place] * size * (2 * self.excess[place] + self.total * size)
            for place, size in self._change(group)
        )

    def may_move(self, group: int) -> bool:
        """Whether both sides keep enough groups of each class."""
        if group in self.chosen:
            return all(self.inside[label] > 1 for label in self.images[group])
        return all(self.outside[label] > self.keep for label in self.images[group])

    def move(self, group: int) -> None:
        for place, size in self._change(group):
            self.excess[place] += self.total * size
        step = -1 if group in self.chosen else 1
        for label in self.images[group]:
            self.inside[label] += step
            self.outside[label] -= step
        self.chosen ^= {group}


def grouped(images: Labelled, count: int, part: str, *, keep: int = 1) -> Indices:
    """Indices of about ``count`` images, whole groups with each class in proportion, ascending.

    Every class is there, and keeps ``keep`` groups outside. Groups come in an order that a stream keyed by ``part``
    draws: first one for each class, then every group moves in or out where that brings the part nearer to ``count`` and
    to the shares of the classes, until none does. Raises `UserError` that names the groups where a class has too few
    of them, or where whole groups come nowhere near ``count``.
    """
    labels, groups = images.labels, images.groups
    assert groups is not None
    _refuse_few_groups(images, groups, keep)
    cut = _Cut(labels, groups, count, keep)
    numbers = np.unique(groups)
    draws = SPLITS.generator(part, "groups").bit_generator.random_raw(len(numbers))
    order: list[int] = numbers[np.argsort(draws, kind="stable")].tolist()
    for label in sorted(range(cut.classes), key=cut.outside.__getitem__):  # the rarest first
        if cut.outside[label] and not cut.inside[label]:
            possible = [group for group in order if label in cut.images[group] and cut.may_move(group)]
            if not possible:
                raise _too_entangled(images.class_names[label], part)
            cut.move(min(possible, key=cut.gain))
    moving = True
    while moving:
        moving = False
        for group in order:
            if cut.gain(group) < 0 and cut.may_move(group):
                cut.move(group)
                moving = True
    chosen = np.flatnonzero(np.isin(groups, list(cut.chosen)))
    if abs(len(chosen) - count) > count / 2:
        raise _too_coarse(groups, images.group_names, count, len(chosen), part)
    return chosen


def _refuse_few_groups(images: Labelled, groups: Indices, keep: int) -> None:
    """Every class stands in ``keep`` parts beside the one that is cut, with other groups in each."""
    labels, names = images.labels, images.group_names
    parts, there = keep + 1, np.unique(groups)
    if len(there) < parts:
        raise UserError(
            "fewer groups than parts",
            got=f"{_listed(there, names)}, for {parts} parts",
            expected="a group or more for each part: another data.group, or none",
            where=WHERE,
        )
    for label in np.unique(labels).tolist():
        own = np.unique(groups[labels == label])
        if len(own) < parts:
            raise UserError(
                f"class {visible(images.class_names[label])} has images of too few groups to stand in {parts} parts",
                got=f"{int((labels == label).sum()):,} images, all of {_listed(own, names)}",
                expected=f"images of {parts} groups or more in every class; or a division of your own",
                where=WHERE,
            )


def _too_entangled(name: str, part: str) -> UserError:
    return UserError(
        f"no group of class {visible(name)} can go into the {part} part and leave every class enough groups",
        expected="more groups that hold few classes; or a division of your own",
        where=WHERE,
    )


def _too_coarse(groups: Indices, names: Sequence[str], count: int, found: int, part: str) -> UserError:
    sizes = np.bincount(groups)
    largest = int(sizes.argmax())
    return UserError(
        f"whole groups come nowhere near the {part} part that is asked for",
        got=f"{found:,} images where {count:,} are asked for; the largest group, {_name(largest, names)}, "
        f"has {int(sizes[largest]):,} of {len(groups):,}",
        expected="smaller groups, another protocol.validation, or a division of your own",
        where=WHERE,
    )


def refuse_shared(parts: dict[str, Images], names: Sequence[str]) -> None:
    """Raises `UserError` that names and counts the groups with images in more than one of the parts."""
    groups = {part: images.groups for part, images in parts.items() if images.groups is not None}
    most = max((int(own.max()) for own in groups.values()), default=0) + 1
    counts = {part: np.bincount(own, minlength=most) for part, own in groups.items()}
    table = np.array(list(counts.values())).reshape(-1, most)  # (parts, groups)
    shared = np.flatnonzero((table > 0).sum(axis=0) > 1)
    if not len(shared):
        return
    told = []
    for group in shared[:SHOWN].tolist():
        where = [f"{n:,} {part}" for part, n in zip(counts, table[:, group].tolist(), strict=True) if n]
        told.append(f"{_name(group, names)} ({', '.join(where)})")
    more = f" and {len(shared) - SHOWN:,} more" if len(shared) > SHOWN else ""
    there = int((table.sum(axis=0) > 0).sum())
    raise UserError(
        "groups stand on both sides of a split",
        got=f"{len(shared):,} of {there:,} groups: {'; '.join(told)}{more} images",
        expected="every group in one part: move their files, or leave out data.group to do without this check",
        where=WHERE,
    )


def told(parts: dict[str, Images]) -> str | None:
    """How many groups and images each part has; None where images have no groups."""
    said = []
    for part, images in parts.items():
        if images.groups is None:
            return None
        groups = len(np.unique(images.groups))
        said.append(f"{groups:,} group{'' if groups == 1 else 's'} of {len(images):,} images {part}")
    return f"no group stands on both sides of a split: {', '.join(said)}"


def approximated(part: str, count: int, found: int) -> str:
    """A note where whole groups do not make the number that is asked for."""
    return f"the {part} part has {found:,} images, where {count:,} are asked for: groups stay whole"


def _name(group: int, names: Sequence[str]) -> str:
    return visible(names[group]) if group < len(names) else f"group {group}"


def _listed(groups: Indices, names: Sequence[str]) -> str:
    count = len(groups)
    listed = visible_list([_name(group, names) for group in groups.tolist()], SHOWN)
    return f"{count:,} group{'' if count == 1 else 's'} ({listed})"
