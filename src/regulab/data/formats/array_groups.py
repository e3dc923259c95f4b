"""To which group each image of an array belongs: numbers or texts, one for each image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from regulab.errors import UserError


class Arrays(Protocol):
    """Arrays by name."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...

    def read(self, name: str) -> NDArray[Any]: ...


def named_groups(arrays: Arrays, name: str, images: int, where: str) -> list[str]:
    """The names of the groups of so many images; raises `UserError` where the array is not of that length or kind."""
    values = arrays.read(name)
    if values.shape not in ((images,), (images, 1)) or values.dtype.kind not in "iuU":
        raise UserError(
            "no groups of images",
            got=f"{values.dtype} of the shape {values.shape}",
            expected=f"whole numbers or texts of the shape ({images},), one for each image",
            where=f"{where}, {name}",
        )
    return [str(value) for value in values.reshape(-1).tolist()]
