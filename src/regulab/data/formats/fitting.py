"""Image files of any size brought to one: cut, padded or squashed, with the averaging that making smaller needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from regulab.config import Data

# Before the cubic filter large images are averaged over blocks of whole pixels, down to this many times the size that
# is wanted: a photograph of 12 megapixels takes 6 ms instead of 33, and hardly a level differs (see the tests).
GAP = 3.0
TURNED = (5, 6, 7, 8)  # EXIF orientations in which rows are stored as columns
ORIENTATION = 0x0112
WORDS = {
    "crop": "the shorter side first, then the middle cut out",
    "pad": "the longer side, then black bars",
    "squash": "each side for itself, whatever the shape",
}


@dataclass(frozen=True)
class Fit:
    """To which ``height`` and ``width`` images are brought, and how:

    ``crop``: scaled until the image covers the size, and the middle of it cut out;
    ``pad``: scaled until it fits inside, in the middle, the rest black (beyond 8 bits: the image's own darkest level);
    ``squash``: height and width scaled each for itself.

    Scaled by Pillow's bicubic filter, which averages over as many pixels as become one (antialiasing); an image of this
    very size keeps its pixels. Done after the EXIF orientation, palettes and CMYK.
    """

    height: int
    width: int
    how: Literal["crop", "pad", "squash"] = "crop"

    @staticmethod
    def of(data: Data) -> Fit | None:
        """What a study's ``data.size`` and ``data.fit`` ask for; None: images stay as they are."""
        size = data.height_and_width
        return None if size is None else Fit(*size, data.fit or "crop")

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    def scales(self, height: int, width: int) -> tuple[float, float]:
        """By what height and width of an image are multiplied: above 1 it is enlarged."""
        down, across = self.height / height, self.width / width
        if self.how == "squash":
            return down, across
        scale = max(down, across) if self.how == "crop" else min(down, across)
        return scale, scale

    def enlarges(self, height: int, width: int) -> bool:
        """Whether an image of these sides has fewer pixels than it is shown with."""
        return max(self.scales(height, width)) > 1

    def draft(self, image: Image.Image) -> None:
        """Has a JPEG file decoded at a half, a quarter or an eighth of its size where that leaves `GAP` times what is
        wanted: less than half the time for 12 megapixels. Before anything was decoded.
        """
        if image.format not in ("JPEG", "MPO"):
            return
        turned = image.getexif().get(ORIENTATION, 1) in TURNED
        height, width = image.size if turned else image.size[::-1]
        down, across = self.scales(height, width)
        wanted = math.ceil(GAP * down * height), math.ceil(GAP * across * width)
        image.draft(None, wanted if turned else wanted[::-1])

    def apply(self, image: Image.Image, ground: float = 0) -> Image.Image:
        """The upright image of mode ``L``, ``RGB`` or ``F`` in this size; ``ground`` is the level of bars."""
        width, height = image.size
        if (height, width) == self.size:
            return image
        if self.how == "pad":
            down, across = self.scales(height, width)
            inner = max(1, round(width * across)), max(1, round(height * down))
            whole = Image.new(image.mode, (self.width, self.height), _level(image.mode, ground))
            place = (self.width - inner[0]) // 2, (self.height - inner[1]) // 2
            whole.paste(_resized(image, inner, (0, 0, width, height)), place)
            return whole
        return _resized(image, (self.width, self.height), self._part(height, width))

    def apply_deep(self, levels: NDArray[Any]) -> NDArray[np.float32]:
        """Levels ``(H, W)`` of more than 8 bits in this size; none lies outside of those that the image had."""
        low, high = float(levels.min()), float(levels.max())
        image = self.apply(Image.fromarray(levels.astype(np.float32)), low)
        fitted: NDArray[np.float32] = np.asarray(image, np.float32)
        return np.clip(fitted, np.float32(low), np.float32(high))

    def _part(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Which part of an image is kept: left, upper, right and lower edge, in pixels and parts of them."""
        if self.how == "squash":
            return 0, 0, width, height
        scale = max(self.scales(height, width))
        across, down = min(self.width / scale, width), min(self.height / scale, height)
        left, upper = (width - across) / 2, (height - down) / 2
        return left, upper, left + across, upper + down


def _resized(
    image: Image.Image, size: tuple[int, int], part: tuple[float, float, float, float]
) -> Image.Image:
    return image.resize(size, Image.Resampling.BICUBIC, box=part, reducing_gap=GAP)


def _level(mode: str, ground: float) -> Any:
    return ground if mode == "F" else (round(ground),) * 3 if mode == "RGB" else round(ground)
