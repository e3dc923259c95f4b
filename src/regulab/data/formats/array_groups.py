"""To which group each image of an array belongs: numbers or texts, one for each image."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from regulab.errors import UserError


def named_groups(values: NDArray[Any], images: int, where: str) -> list[str]:
    """The names of the groups of so many images; raises `UserError` where the array is not of that length or kind."""
    if values.shape not in ((images,), (images, 1)) or values.dtype.kind not in "iuU":
        raise UserError(
            "no groups of images",
            got=f"{values.dtype} of the shape {values.shape}",
            expected=f"whole numbers or texts of the shape ({images},), one for each image",
            where=where,
        )
    return [str(value) for value in values.reshape(-1).tolist()]
