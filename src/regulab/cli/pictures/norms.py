"""Over what a norm averages, found by changing one value of what its layer gets."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regulab.cli.pictures.canvas import Block, Paper, beside, wrapped

if TYPE_CHECKING:
    from torch import Tensor, nn

    from regulab.models.norm import Norm

IMAGES, CHANNELS, SIDE = 8, 16, 4


@dataclass(frozen=True)
class Reach:
    """Which outputs ``(B, C, H, W)`` the first input value of image 1 and channel 1 changes."""

    changed: Tensor

    def words(self) -> str:
        """``the places of all images, channel by channel``."""
        images, channels, places = (
            self.changed.any(dim).sum().item() for dim in ((1, 2, 3), (0, 2, 3), (0, 1))
        )
        if images == channels == places == 1:
            return "over nothing: every value by itself"
        parts = []
        if places > 1:
            parts.append("places" if places == SIDE * SIDE else f"{places} places")
        if channels > 1:
            parts.append("channels" if channels == CHANNELS else f"{channels} of {CHANNELS} channels")
        if images > 1:
            parts.append("images" if images == IMAGES else f"{images} of {IMAGES} images")
        one = [
            name
            for name, count in (("place", places), ("channel", channels), ("image", images))
            if count == 1
        ]
        return f"over {', '.join(parts)}" + (f"; each {', '.join(one)} by itself" if one else "")


def reach(layer: nn.Module, training: bool) -> Reach:
    """Its outputs with and without the change, from equal states and draws."""
    import torch

    generator = torch.Generator().manual_seed(1)
    # Above 0, so that a norm that cuts its outputs off at 0 and centres nothing shows all that it reaches.
    x = torch.rand(IMAGES, CHANNELS, SIDE, SIDE, generator=generator) + 0.5
    other = x.clone()
    other[0, 0, 0, 0] += 1

    def given(inputs: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            found: Tensor = copy.deepcopy(layer).train(training)(inputs)
            return found

    return Reach((given(x) - given(other)).abs() > 1e-7)


def picture(kind: type[Norm], paper: Paper) -> Block:
    """A mark for each image and channel: where outputs change, at all places or some, in training and in inference."""
    example = kind.examples()[0]
    layer = example.build(CHANNELS)
    training, inference = reach(layer, True), reach(layer, False)
    alike = bool((training.changed == inference.changed).all())
    found = (
        {"in training and in inference": training}
        if alike
        else {"in training": training, "in inference": inference}
    )
    marks = "·▫■" if paper.unicode else ".o#"
    legend = f"{marks[2]} all places of a channel, {marks[1]} some, {marks[0]} none"
    of = f"{example.legend()}, {CHANNELS} channels"
    head = f"Which outputs one value of image 1 and channel 1 changes, channels across ({legend}), {of}:"
    told = [f"{name} it averages {one.words()}" for name, one in found.items()]
    tables = beside(paper, [[name, *_table(marks, one)] for name, one in found.items()])
    return [*wrapped(paper, head), "", *tables, "", *(line for one in told for line in wrapped(paper, one))]


def _table(marks: str, found: Reach) -> Block:
    """A row for each image, a mark for each channel."""
    some, whole = found.changed.flatten(2).any(2).int(), found.changed.flatten(2).all(2).int()
    rows = ["".join(marks[k] for k in row) for row in (some + whole).tolist()]
    return [f"image {image}  {row}" for image, row in enumerate(rows, 1)]
