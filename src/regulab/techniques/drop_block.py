"""DropBlock in the place of dropout: whole squares of a map are dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field
from torch import nn

from regulab.config import DropoutRate
from regulab.models.layers.drop_block import DropBlock
from regulab.techniques.in_place_of_dropout import LOOKS_FOR, in_place_of_dropout, others
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Edit, Hooks


class DropBlockTechnique(Edit):
    """DropBlock: in training, squares of s×s places are set to 0 in every map, about a share p of it in all.

    y = x·m·(places/places kept), with m = 0 on squares that begin at each place with probability
    γ = p/s²·HW/((H − s + 1)(W − s + 1)). It stands in the place of every dropout layer of the network, and of
    ``model.dropout``; inference: y = x. Arms of one seed share the draws, and arms of one ``block_size`` a fleet.
    Parameters: ``rate`` p, 0 to 0.999; ``block_size`` s ≥ 1, by default 3: on maps of less than s places a
    side, as large as fits. Of activations without places ``(B, F)`` single ones are dropped.

    Source: Ghiasi, Lin & Le 2018 (arXiv 1810.12890), without its schedule of p.
    """

    name: ClassVar[str] = "drop_block"
    scalar: ClassVar[str] = "rate"
    search: ClassVar[SearchRange | None] = SearchRange(0.01, 0.5)
    instead_of: ClassVar[tuple[str, ...]] = ("dropout",)
    excludes: ClassVar[Mapping[str, str]] = others("drop_block")
    looks_for: ClassVar[str] = LOOKS_FOR
    per_run: ClassVar[tuple[str, ...]] = ("rate",)
    rate: DropoutRate = Field(default=0.1, description="The share p of a map that is dropped, about.")
    block_size: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=3, description="The places s along each side of a square."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(rate=0.2), cls(rate=0.3, block_size=2)

    def legend(self) -> str:
        return f"DropBlock {self.rate:g}, {self.block_size}×{self.block_size}"

    def edit(self, module: nn.Module) -> nn.Module | None:
        return in_place_of_dropout(module, self.name, lambda: DropBlock(self.rate, self.block_size))

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks(rates=[None if v is None else v.rate for v in values])
