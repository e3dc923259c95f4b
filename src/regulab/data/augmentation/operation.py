"""What an operation of augmentation is: a frozen value that changes a batch of images, each by its own draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.ranges import Range, as_factor, limits, uniform
from regulab.values.complaints import Refusal

if TYPE_CHECKING:
    from regulab.data.augmentation.settings import AugmentSettings


class Operation(ABC):
    """One way to change images ``(B, C, H, W)`` float32 in [0, 1], where v stands for the level 255·v.

    What an image becomes depends on itself and its own row of draws, never on the images beside it. Nothing is
    copied from the host and nothing read back, so that a step on a GPU can be replayed. Subclasses are final: one a
    file, found by ``name``; ``keys`` are those of the study file, by default the name alone.
    """

    name: ClassVar[str]
    keys: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str]  # whose definition it is, in a few words
    draws: ClassVar[int] = 1  # columns of its stream

    @classmethod
    def of(cls, settings: AugmentSettings) -> Operation | None:
        """The operation that the settings ask for; None where they ask for none."""
        found: Operation | None = getattr(settings, cls.name)
        return found

    @classmethod
    @abstractmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        """Settings as in a study file, which the contract tests take."""

    @classmethod
    def samples(cls, side: int) -> tuple[dict[str, Any], ...]:
        """Settings that show what it does to a picture whose shorter side has so many pixels."""
        return cls.examples()[:1]

    @abstractmethod
    def label(self) -> str:
        """A few words for legends."""

    @abstractmethod
    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        """The images changed; ``mean`` ``(C, 1, 1)`` is that of the training images."""

    def streams(self) -> Mapping[str, int]:
        """The columns that it takes of each stream of draws."""
        return {self.name: self.draws}

    def fills(self) -> tuple[object, ...]:
        """What it puts in the place of pixels that are not there."""
        return ()

    def refusal(self, channels: int, height: int, width: int) -> Refusal | None:
        """What is wrong with it for images of this kind."""
        return None

    def in_parts(self) -> bool:
        """Whether a processor is faster with parts of a batch, which stay in its cache: where all values are passed
        over several times.
        """
        return False

    def notes(self, height: int, width: int) -> tuple[str, ...]:
        """What a person should know of what it does to images of this size."""
        return ()


@dataclass(frozen=True)
class Jitter(Operation):
    """Operations by a random factor around 1: a number r is the range from 1 − r, 0 at least, to 1 + r."""

    amount: Range

    @classmethod
    def of(cls, settings: AugmentSettings) -> Operation | None:
        amount: Range = getattr(settings, cls.name)
        return cls(amount) if amount else None

    @abstractmethod
    def changed(self, x: Tensor, factor: Tensor) -> Tensor:
        """The images by a factor ``(B, 1, 1, 1)`` each."""

    def label(self) -> str:
        return f"{self.name} {as_factor(self.amount)}"

    def in_parts(self) -> bool:
        return True

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        low, high = limits(self.amount, 1.0)
        return self.changed(x, uniform(draws[self.name][:, :1, None, None], max(low, 0.0), high))


@dataclass(frozen=True)
class ByChance(Operation):
    """Operations that are done to an image or not; ``probability`` is that of the first."""

    probability: float

    @classmethod
    def of(cls, settings: AugmentSettings) -> Operation | None:
        probability: float = getattr(settings, cls.name)
        return cls(probability) if probability else None

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({cls.name: 0.5},)

    @abstractmethod
    def changed(self, x: Tensor) -> Tensor:
        """What the images become where it is done."""

    def label(self) -> str:
        return f"{self.name} {100 * self.probability:g} %"

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        return for_some(draws[self.name][:, 0] < self.probability, x, self.changed)


def for_some(
    some: Tensor, x: Tensor, change: Callable[..., Tensor], *more: Tensor, in_place: bool = False
) -> Tensor:
    """``change(x, *more)`` for the images of which ``some`` ``(B,)`` is true, ``x`` for the others.

    All tensors have a row for each image. With ``in_place`` the memory of ``x`` may be taken for the result.
    A processor computes only what is asked for; other devices compute all and select, since who is asked for would
    have to be read back.
    """
    if not can_read_back(x):
        return torch.where(some[:, None, None, None], change(x, *more), x)
    places = some.nonzero()[:, 0]
    if len(places) == 0:
        return x
    changed = change(x.index_select(0, places), *(one.index_select(0, places) for one in more))
    return x.index_copy_(0, places, changed) if in_place else x.index_copy(0, places, changed)


def needs_colour(key: str, channels: int) -> Refusal | None:
    """What would change nothing about grey images is refused."""
    if channels != 1:
        return None
    return Refusal("has no effect on grey images", key=key, expected="images in colour", cure="leave it out")


def can_read_back(x: Tensor) -> bool:
    """Whether its values can be looked at without waiting, and in a step that is replayed at all."""
    return x.device.type == "cpu"
