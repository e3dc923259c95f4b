"""What stands where an image has no pixels: a level, a colour, the mean of the training images, or the image itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from torch import Tensor

from regulab.errors import did_you_mean
from regulab.values.complaints import Refusal

Fill = float | tuple[float, float, float] | str
MEAN, REFLECT, EDGE, RANDOM = "mean", "reflect", "edge", "random"
LEVEL: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 255}
COLOUR: dict[str, Any] = {"type": "array", "prefixItems": [LEVEL] * 3, "minItems": 3, "maxItems": 3}


@dataclass(frozen=True)
class Filling:
    """Marks a key that takes a level from 0 to 255, a colour [r, g, b], or one of ``words``."""

    words: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.taken)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [LEVEL, COLOUR, {"enum": list(self.words)}]}

    def taken(self, value: Any) -> Fill:
        """The fill, checked."""
        takes = f"a level from 0 to 255, [r, g, b], {', '.join(self.words)}"
        if isinstance(value, list | tuple):
            if len(value) != 3:
                raise Refusal("not three levels", got=list(value), expected=takes)
            red, green, blue = (_level(level, list(value), takes) for level in value)
            return red, green, blue
        if isinstance(value, str) and value in self.words:
            return value
        if isinstance(value, str) and not value.strip().replace(".", "", 1).isdigit():
            raise Refusal("unknown value", got=value, expected=takes, cure=did_you_mean(value, self.words))
        return _level(value, value, takes)


def _level(value: Any, written: Any, takes: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Refusal("no level", got=written, expected=takes)
    try:
        level = float(value)
    except ValueError:
        raise Refusal("no level", got=written, expected=takes) from None
    if not 0 <= level <= 255:
        raise Refusal("out of range", got=written, expected=takes)
    return level


Outside = Annotated[Fill, Filling((MEAN, REFLECT, EDGE))]
Colour = Annotated[Fill, Filling((MEAN,))]
ColourOrRandom = Annotated[Fill, Filling((MEAN, RANDOM))]


def as_text(fill: Fill) -> str:
    """For legends."""
    if isinstance(fill, tuple):
        return f"[{', '.join(f'{level:g}' for level in fill)}]"
    return fill if isinstance(fill, str) else f"{fill:g}"


def colour_refusal(key: str, fill: Fill, channels: int) -> Refusal | None:
    """A colour for images that have none."""
    if not isinstance(fill, tuple) or channels == 3:
        return None
    return Refusal(
        "a colour for grey images", key=key, got=list(fill), expected="one level from 0 to 255, or mean"
    )


def colour(fill: Fill, x: Tensor, mean: Tensor) -> Tensor:
    """``(C, 1, 1)`` in [0, 1], made on the device of ``x`` ``(B, C, H, W)`` without a copy from the host.

    Black for ``edge`` and ``reflect``, which show none.
    """
    if fill == MEAN:
        return mean
    if fill in (EDGE, REFLECT):
        fill = 0.0
    levels = fill if isinstance(fill, tuple) else (fill,) * x.shape[1]
    assert all(isinstance(level, float) for level in levels), fill
    return torch.cat([x.new_full((1, 1, 1), float(level) / 255) for level in levels])


def sample(x: Tensor, grid: Tensor, fill: Fill, mean: Tensor) -> Tensor:
    """Bilinear samples of ``x`` at ``grid`` ``(B, H, W, 2)``, in the coordinates of `torch.nn.functional.grid_sample`.

    Between the last pixels and a fill of one colour the two are mixed as between pixels. ``edge`` repeats the
    outermost pixels; ``reflect`` mirrors the image at their centres, d c b | a b c d | c b a, as padding in numpy and
    torch does.
    """
    if fill == EDGE:
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if fill == REFLECT:
        return F.grid_sample(
            x, _both_mirrored(grid, x), mode="bilinear", padding_mode="border", align_corners=False
        )
    if fill == 0:
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    ground = colour(fill, x, mean)
    # Between − and + a level may leave [0, 1] by half a unit in its last place.
    beside = F.grid_sample(x - ground, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (beside + ground).clamp_(0, 1)


def nearest(levels: Tensor, grid: Tensor, fill: Fill, ground: Tensor) -> Tensor:
    """The nearest of whole ``levels`` at ``grid``, as `sample` has it.

    What is outside is ``ground`` ``(C, 1, 1)``, or with ``edge`` and ``reflect`` the image.
    """
    if fill in (EDGE, REFLECT):
        inside = _both_mirrored(grid, levels) if fill == REFLECT else grid
        return F.grid_sample(levels, inside, mode="nearest", padding_mode="border", align_corners=False)
    if fill == 0:
        return F.grid_sample(levels, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    found = F.grid_sample(levels + 1, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return torch.where(found == 0, ground, found - 1)


def _both_mirrored(grid: Tensor, x: Tensor) -> Tensor:
    return torch.stack([_mirrored(grid[..., axis], x.shape[3 - axis]) for axis in (0, 1)], -1)


def _mirrored(normalized: Tensor, size: int) -> Tensor:
    """Positions between −1 and 1 that stand, mirrored at the centres of the outermost pixels, for any position."""
    last = max(size - 1, 1)
    pixels = ((normalized + 1) * size - 1) / 2
    return (2 * (last - (pixels.remainder(2 * last) - last).abs()).clamp(max=size - 1) + 1) / size - 1


def take(x: Tensor, rows: Tensor, columns: Tensor, fill: Fill, ground: Tensor) -> Tensor:
    """Pixels of ``x`` ``(B, C, H, W)`` at whole ``rows`` and ``columns``, int64 that broadcast to ``(B, H, W)``.

    What is outside is ``ground`` ``(C, 1, 1)``, or with ``edge`` and ``reflect`` the image.
    """
    height, width = x.shape[2:]
    inside_rows, inside_columns = _inside(rows, columns, height, width)
    flat = (_within(rows, height, fill) * width + _within(columns, width, fill)).flatten(1)
    found = x.flatten(2).gather(2, flat[:, None].expand(-1, x.shape[1], -1)).view_as(x)
    if fill in (EDGE, REFLECT):
        return found
    return torch.where((inside_rows & inside_columns)[:, None], found, ground)


def _inside(rows: Tensor, columns: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    return (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)


def _within(index: Tensor, size: int, fill: Fill) -> Tensor:
    if fill == REFLECT and size > 1:
        last = size - 1
        return last - (index.remainder(2 * last) - last).abs()
    return index.clamp(0, size - 1)
