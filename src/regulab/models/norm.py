"""What a norm is: a frozen value, one a file of `regulab.models.norms`, that nets are built with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from torch import nn

from regulab.config import Part


class Norm(Part, ABC):
    """A normalization layer with its parameters. Subclasses are final: one a file, found by name.

    A study file names it, ``norm: batch``, or gives its fields too: ``norm: {name: ghost_batch, splits: 8}``. All
    fields have defaults. ``shifts`` says whether the layer takes out what is added to a whole channel, and adds a
    learned shift of its own, so that the convolution before it needs no bias; ``stacks``, whether a fleet can take it:
    one that draws from torch's generator has to train run by run. ``activation`` names the field, if there is one, that
    says whether the layer ends with an activation of its own, which then stands for the ReLU behind it.
    """

    name: ClassVar[str]
    shifts: ClassVar[bool] = True
    stacks: ClassVar[bool] = True
    activation: ClassVar[str] = ""

    @classmethod
    @abstractmethod
    def examples(cls) -> tuple[Self, ...]:
        """Values that the contract tests run, one at least."""

    @abstractmethod
    def build(self, channels: int) -> nn.Module:
        """The layer for activations ``(B, channels, H, W)``."""

    @abstractmethod
    def legend(self) -> str:
        """A few words for legends: ``batch norm``."""


def activates(norm: Norm) -> bool:
    """Whether a norm's layers end with an activation, so that a net puts no ReLU behind them."""
    return bool(norm.activation) and bool(getattr(norm, norm.activation))


def without_activation(norm: Norm) -> Norm:
    """The norm for places where no activation belongs: at the end of a residual branch, before the sum."""
    return norm.model_copy(update={norm.activation: False}) if norm.activation else norm
