"""From a name to splits: finds the dataset, loads it, applies the protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from regulab import config
from regulab.data.alike import alike, without_images
from regulab.data.dataset import Dataset
from regulab.data.formats.format import Format
from regulab.data.label_noise import noisy
from regulab.data.roots import expanded
from regulab.data.sealing import sealed
from regulab.data.splits import Splits, split
from regulab.errors import UserError, did_you_mean
from regulab.registry import catalogue

if TYPE_CHECKING:
    from regulab.config import Data, Protocol


NOTE = "data: "  # begins every note on the files, among those on training


def datasets() -> dict[str, Dataset]:
    """Every registered dataset, by name; a new one is one new file in ``sets``."""
    return catalogue("regulab.data.sets", Dataset)


def known_formats() -> dict[str, Format]:
    """Every registered layout of people's own images, by name; a new one is one new file in ``formats``."""
    return catalogue("regulab.data.formats", Format)


def find_dataset(data: Data | str) -> Dataset:
    """The dataset that ``data.name`` names: a registered one, or people's own images as ``FORMAT:PATH``."""
    if isinstance(data, str):
        data = config.Data(name=data)
    kind, colon, place = data.name.partition(":")
    found, layouts = datasets(), known_formats()
    if colon and kind in layouts:
        if not place:
            expected = f"{kind}:PATH"
            raise UserError(f"no path after {kind}:", got=data.name, expected=expected, where="data.name")
        _refuse_foreign(data, layouts, kind, f"{kind}:PATH")
        return layouts[kind].dataset(data, expanded(place, "data.name"))
    if data.name not in found:
        own = ", ".join(f"{name}:PATH for {layout.summary}" for name, layout in layouts.items())
        raise UserError(
            "unknown dataset",
            got=data.name,
            expected=f"one of {', '.join(found)}, or {own}",
            where="data.name",
            cure=_place_called(data.name) or did_you_mean(data.name, found),
        )
    _refuse_foreign(data, layouts, "", f"the dataset {data.name}")
    return found[data.name]


def _place_called(name: str) -> str:
    """What to write for a folder here with the name that was given."""
    return f"did you mean folder:{name}?" if "\0" not in name and os.path.isdir(name) else ""


def _refuse_foreign(data: Data, layouts: Mapping[str, Format], kind: str, what: str) -> None:
    """Raises `UserError` for a key that means something to other layouts only."""
    taken = layouts[kind].takes if kind else frozenset()
    for key in sorted(frozenset().union(*(layout.takes for layout in layouts.values())) - taken):
        value = getattr(data, key)
        if value != type(data).model_fields[key].default:
            takers = " and ".join(f"{name}:PATH" for name, layout in layouts.items() if key in layout.takes)
            raise UserError(
                f"{key} has no effect on {what}",
                got=list(value) if isinstance(value, tuple) else value,
                expected=f"no data.{key}: it is for {takers}",
                where=f"data.{key}",
            )


def load(data: Data, protocol: Protocol, root: Path) -> Splits:
    """The splits of the dataset that ``data`` names, read from ``root``, with their test part sealed.

    The test split is read here, before training, so that a damaged one is noticed and an exchanged one refused; it is
    opened for testing by ``open_test``, once, after training. Noise comes last: the notes on images that occur twice
    are of the true labels.
    """
    splits = sealed(split(find_dataset(data).load(root), protocol, data.train_images))
    splits = replace(
        splits,
        notes=(
            *splits.notes,
            *alike(splits.class_names),
            *without_images(splits.class_names, splits.train.labels),
        ),
    )
    splits = noisy(splits, data.label_noise)
    each_once = dict.fromkeys(
        splits.notes
    )  # what was done to the training images is often done to the test images too
    return replace(splits, notes=tuple(f"{NOTE}{note}" for note in each_once))
