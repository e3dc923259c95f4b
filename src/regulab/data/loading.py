"""From a name to splits: finds the dataset, loads it, applies the protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from regulab.data.dataset import Dataset
from regulab.data.splits import Splits, split
from regulab.errors import UserError, did_you_mean
from regulab.registry import catalogue

if TYPE_CHECKING:
    from regulab.config import Data, Protocol


def datasets() -> dict[str, Dataset]:
    """Every registered dataset, by name; a new one is one new file in ``sets``."""
    return catalogue("regulab.data.sets", Dataset)


def find_dataset(name: str) -> Dataset:
    """The dataset called ``name``, or the folder of class folders that ``folder:PATH`` names."""
    if name.startswith("folder:"):
        from regulab.data.folder import folder_dataset

        return folder_dataset(name)
    found = datasets()
    if name not in found:
        raise UserError(
            "unknown dataset",
            got=name,
            expected=f"one of {', '.join(found)}, or folder:PATH for a folder of class folders",
            where="data.name",
            cure=did_you_mean(name, found),
        )
    return found[name]


def load(data: Data, protocol: Protocol, root: Path) -> Splits:
    """The splits of the dataset that ``data`` names, read from ``root``."""
    return split(find_dataset(data.name).load(root), protocol, data.train_images)
