"""Gaussian dropout in the place of dropout: activations are multiplied with normal noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import nn

from regulab.config import DropoutRate
from regulab.models.layers.gaussian_dropout import GaussianDropout
from regulab.techniques.in_place_of_dropout import LOOKS_FOR, in_place_of_dropout, others
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Edit, Hooks


class GaussianDropoutTechnique(Edit):
    """Gaussian dropout: in training every activation is multiplied with normal noise of mean 1 and variance p/(1 − p).

    y = x·(1 + σ·z), z ~ N(0, 1), σ² = p/(1 − p): the mean and the variance that dropout's factor m/(1 − p) has, so that
    rates compare. Inference: y = x. It stands in the place of every dropout layer of the network, and of
    ``model.dropout``. z takes 65,536 values, no further from 0 than 4.33. Arms of one seed share z, whatever their
    rates. Parameter: ``rate`` p, 0 to 0.999.

    Source: Srivastava et al. 2014, section 10.
    """

    name: ClassVar[str] = "gaussian_dropout"
    scalar: ClassVar[str] = "rate"
    search: ClassVar[SearchRange | None] = SearchRange(0.01, 0.5)
    instead_of: ClassVar[tuple[str, ...]] = ("dropout",)
    excludes: ClassVar[Mapping[str, str]] = others("gaussian_dropout")
    looks_for: ClassVar[str] = LOOKS_FOR
    per_run: ClassVar[tuple[str, ...]] = ("rate",)
    rate: DropoutRate = Field(
        default=0.1, description="p of the dropout whose noise has the same variance, p/(1 − p)."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(rate=0.25),)

    def legend(self) -> str:
        return f"Gaussian dropout {self.rate:g}"

    def edit(self, module: nn.Module) -> nn.Module | None:
        return in_place_of_dropout(module, self.name, lambda: GaussianDropout(self.rate))

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks(rates=[None if v is None else v.rate for v in values])
