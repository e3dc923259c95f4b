"""A person's own images as arrays in a file: ``npz:PATH``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from regulab.config.paths import given_path
from regulab.data import given
from regulab.data.dataset import Dataset, DatasetContent
from regulab.data.formats.array_keys import WANTED
from regulab.data.formats.arrays import ArraySource, content_of
from regulab.data.formats.format import Format
from regulab.data.formats.npz_file import NpzFile
from regulab.errors import UserError

if TYPE_CHECKING:
    from regulab.config import Data


def npz_dataset(data: Data, path: Path) -> Dataset:
    """The dataset that ``npz:PATH`` names.

    Arrays are found by their names (see `regulab.data.formats.array_keys`), pixels brought to bytes (`as_pixels`),
    labels are numbers or texts (`as_labels`), and images keep their order. ``data.group`` names arrays of what belongs
    together (`array_groups`). With images of no split a fixed fifth is
    the test split and another the validation part (`fifths`). Objects are refused, never unpickled. Raises
    `UserError` for all that is wrong; nothing but shapes of the test arrays is read before ``open_test`` is called.
    """
    return Dataset(
        name=data.name,
        summary=f"the arrays in {path}",
        source=str(path),
        load=partial(_load, data.name, path, data.group),
    )


NPZ = Format(
    name="npz",
    summary="a file of arrays (images and labels)",
    dataset=npz_dataset,
    takes=frozenset({"group"}),
)


def _load(name: str, path: Path, group: str | None, root: Path) -> DatasetContent:
    arrays = given.held(path)
    if arrays is not None:
        return content_of(ArraySource(name, arrays, "data", group=group))
    if given_path(str(path)) and not path.exists():
        raise UserError(
            "these images were given from Python, and are kept in the run directory of their study",
            got=str(path),
            expected="the same arrays again (regulab.run), or the study.yaml of that run directory, which finds them",
            where="data.name",
        )
    if path.is_dir():
        raise UserError("a folder, no file of arrays", got=str(path), expected=WANTED, where="data.name")
    return content_of(ArraySource(name, NpzFile(path), str(path), group=group))
