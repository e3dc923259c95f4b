"""What a file of `regulab.models.nets` registers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from regulab.config import Model, Part, Source, validate
from regulab.errors import UserError
from regulab.models.norm import Norm

Size = tuple[int, int]
A = TypeVar("A", bound=Part)


class NoArgs(Part):
    """Of a network that has no parameters of its own beside norm, depth and dropout."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Net:
    """A network: ``build(in_channels, classes, norm, model, size)`` makes a module ``(B, C, H, W) → (B, classes)``.

    ``size`` is (H, W), or None where nobody knows it; nets of ours then get that of ``usual``, the images
    ``(C, H, W)`` that `regulab show` counts for. ``takes``: which of the model's choices mean anything to it;
    ``args``: its own parameters, ``model.args``. ``least``: pixels of the shorter side that it needs; ``made_for``:
    from and to how many it is meant. ``examples``: models that the contract tests build, one at least.
    """

    name: str
    summary: str
    description: str
    build: Callable[[int, int, Norm, Model, Size | None], nn.Module]
    takes: frozenset[str] = frozenset({"norm", "norm_position"})
    args: type[Part] = NoArgs
    usual: tuple[int, int, int] = (3, 32, 32)
    least: int = 1
    made_for: tuple[int, int] | None = None
    examples: tuple[Model, ...] = ()

    def refuse_small(self, size: Size) -> None:
        """Raises `UserError` for images that its maps would shrink to nothing on."""
        if min(size) < self.least:
            raise UserError(
                f"{self.name} needs images of {self.least} pixels or more on each side",
                got=f"{size[0]}×{size[1]}",
                expected="larger images (`data.size` brings image files to one), or another of `regulab show models`",
                where="model.name",
            )

    def outside(self, size: Size) -> str:
        """What a person should know of images that it can take but is not made for; empty: it is."""
        if self.made_for is None or self.made_for[0] <= min(size) <= max(size) <= self.made_for[1]:
            return ""
        least, most = self.made_for
        which = "its last maps are small" if min(size) < least else "its units see little of an image"
        return f"{self.name} is made for images of {least} to {most} pixels; these are {size[0]}×{size[1]}: {which}"


def args_of(kind: type[A], model: Model) -> A:
    """``model.args`` as the parameters of a net of ours; raises `UserError` with the key that is wrong."""
    given = model.args or {}
    if given and not kind.model_fields:
        key = next(iter(given))
        expected = f"{model.name} without args: it has no parameters of its own"
        raise UserError("unknown key", got=given[key], expected=expected, where=f"model.args.{key}")
    return validate(kind, given, Source("model.args", is_key=True))
