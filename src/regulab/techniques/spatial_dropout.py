"""Spatial dropout in the place of dropout: whole channels are dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import nn

from regulab.config import DropoutRate
from regulab.models.layers.dropout import ChannelDropout
from regulab.techniques.in_place_of_dropout import LOOKS_FOR, in_place_of_dropout, others
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Edit, Hooks


class SpatialDropout(Edit):
    """Spatial dropout: in training every channel of an image is set to 0 with probability p, all its places alike.

    y = x·m/(1 − p) with one m ~ Bernoulli(1 − p) for each image and channel, so that E[y] = x; inference: y = x, as
    torch's Dropout2d. It stands in the place of every dropout layer of the network, and of ``model.dropout``. Channels
    are axis 1 of ``(B, C, …)``; of ``(B, F)`` single activations are dropped, as dropout does it. Arms of one seed
    share one draw per channel: a higher rate drops the same ones and more. Parameter: ``rate`` p, 0 to 0.999.

    Source: Tompson et al. 2015 (arXiv 1411.4280).
    """

    name: ClassVar[str] = "spatial_dropout"
    scalar: ClassVar[str] = "rate"
    search: ClassVar[SearchRange | None] = SearchRange(0.01, 0.5)
    instead_of: ClassVar[tuple[str, ...]] = ("dropout",)
    excludes: ClassVar[Mapping[str, str]] = others("spatial_dropout")
    looks_for: ClassVar[str] = LOOKS_FOR
    per_run: ClassVar[tuple[str, ...]] = ("rate",)
    rate: DropoutRate = Field(
        default=0.1, description="The probability that a channel of an image is dropped."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(rate=0.25),)

    def legend(self) -> str:
        return f"spatial dropout {self.rate:g}"

    def edit(self, module: nn.Module) -> nn.Module | None:
        return in_place_of_dropout(module, self.name, lambda: ChannelDropout(self.rate))

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks(rates=[None if v is None else v.rate for v in values])
