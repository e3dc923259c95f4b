"""From a name to splits: finds the dataset, loads it, applies the protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from regulab.data.dataset import Dataset
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


def find_dataset(name: str, levels: tuple[float, float] | None = None) -> Dataset:
    """The dataset called ``name``, or the folder of class folders that ``folder:PATH`` names.

    ``levels``: the range of deep levels (``data.range``), for a folder of images.
    """
    if name.startswith("folder:"):
        from regulab.data.formats.folder import folder_dataset

        return folder_dataset(name, levels)
    found = datasets()
    if name not in found:
        raise UserError(
            "unknown dataset",
            got=name,
            expected=f"one of {', '.join(found)}, or folder:PATH for a folder of class folders",
            where="data.name",
            cure=did_you_mean(name, found),
        )
    if levels is not None:
        raise UserError(
            f"a range has no effect on the dataset {name}",
            got=list(levels),
            expected="no data.range: it is for folders of grey images of 16 or 32 bits",
            where="data.range",
        )
    return found[name]


def load(data: Data, protocol: Protocol, root: Path) -> Splits:
    """The splits of the dataset that ``data`` names, read from ``root``, with their test part sealed.

    The test split is read here, before training, so that a damaged one is noticed and an exchanged one refused; it is
    opened for testing by ``open_test``, once, after training.
    """
    splits = sealed(split(find_dataset(data.name, data.range).load(root), protocol, data.train_images))
    return replace(splits, notes=tuple(f"{NOTE}{note}" for note in splits.notes))
