"""What a file of `regulab.models.nets` registers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from regulab.config import Model
from regulab.models.norm import Norm


@dataclass(frozen=True, kw_only=True, eq=False)
class Net:
    """A network: ``build(in_channels, classes, norm, model)`` makes a module ``(B, C, H, W) → (B, classes)``.

    ``takes``: which of the model's choices mean anything to it. ``examples``: models that the contract tests build, one
    at least.
    """

    name: str
    summary: str
    description: str
    build: Callable[[int, int, Norm, Model], nn.Module]
    takes: frozenset[str] = frozenset({"norm", "norm_position"})
    examples: tuple[Model, ...] = ()
