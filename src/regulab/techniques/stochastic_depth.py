"""Stochastic depth: residual branches are dropped whole, the deeper the more often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field
from torch import nn

from regulab.config import DropoutRate
from regulab.models.branches import branch_end, drop_paths, residual_blocks
from regulab.models.layers.stochastic_depth import Mode, StochasticDepth, end_branch
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Edit, Hooks


class StochasticDepthTechnique(Edit):
    """Stochastic depth: in training the branch F of a residual block is dropped with probability p, the shortcut left.

    y = shortcut(x) + m/(1 − p_l)·F(x), m ~ Bernoulli(1 − p_l), in block l of L. By the linear rule p_l = p·l/L: the
    last block is dropped with probability p, the first with p/L. The branch is scaled in training, as torchvision
    does it, so that inference needs no change; the paper multiplies by 1 − p_l there, which is the same in expectation.

    Blocks are those of ``resnet18`` and ``resnet20``; of a network of your own layers called DropPath (timm) or
    StochasticDepth (torchvision), whose rate is then p_l, the identities called drop_path in their place, and blocks
    with layers called as torchvision's BasicBlock and Bottleneck have them (conv1, bn1, conv2 …) whose forward pass
    adds a shortcut, which is tried out. Arms of one seed share the draws; arms of one mode and rule share a fleet.

    Parameters: ``rate`` p, 0 to 0.999; ``mode``: ``row``, m for each image (the default), or ``batch``, one m for all
    images of a step as in the paper; ``rule``: ``linear`` or ``uniform``, p_l = p.

    Source: Huang et al. 2016 (arXiv 1603.09382).
    """

    name: ClassVar[str] = "stochastic_depth"
    scalar: ClassVar[str] = "rate"
    search: ClassVar[SearchRange | None] = SearchRange(0.01, 0.5)
    tried_in: ClassVar[str] = "resnet20"
    per_run: ClassVar[tuple[str, ...]] = ("rate",)
    looks_for: ClassVar[str] = (
        "residual blocks: those of resnet18 and resnet20; in a network of your own layers DropPath or StochasticDepth, "
        "or blocks with conv1, bn1, conv2, bn2 (as torchvision's) whose forward pass ends with out + shortcut"
    )
    rate: DropoutRate = Field(default=0.1, description="The probability p that the last branch is dropped.")
    mode: Mode = Field(
        default="row", description="One draw for each image (row), or for all of a step (batch)."
    )
    rule: Literal["linear", "uniform"] = Field(
        default="linear", description="Rates that grow with the depth, p·l/L, or p in every block."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(rate=0.5), cls(rate=0.3, mode="batch", rule="uniform")

    def legend(self) -> str:
        rest = [word for word, usual in ((self.mode, "row"), (self.rule, "linear")) if word != usual]
        return ", ".join([f"stochastic depth {self.rate:g}", *rest])

    def edit(self, module: nn.Module) -> nn.Module | None:
        blocks = list(residual_blocks(module))
        for number, block in enumerate(blocks, 1):
            share = number / len(blocks) if self.rule == "linear" else 1.0
            names = drop_paths(block)
            for name in names:
                setattr(block, name, self._layer(share))
            if not names and (end := branch_end(block)) is not None:
                end_branch(end, self._layer(share))
        return module if blocks else None

    def _layer(self, share: float) -> StochasticDepth:
        layer = StochasticDepth(self.rate * share, self.mode)
        layer.set_by, layer.share = self.name, share
        return layer

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks(rates=[None if v is None else v.rate for v in values])
