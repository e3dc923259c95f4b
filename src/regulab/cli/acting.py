"""Where techniques act: on the objective and the weights, the data, the network, or the path of training."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regulab.techniques.technique import Technique


class Place(StrEnum):
    """Where a technique acts, as headings say it."""

    objective = "On the objective and the weights"
    data = "On the data"
    network = "On the network"
    path = "On the path of training"


def place_of(kind: type[Technique]) -> Place:
    """By its hooks: what changes images or targets, the network, or the steps; all others are of the objective."""
    from regulab.techniques.technique import Edit

    hooks = kind.stack([kind.examples()[0]])
    if hooks.augment is not None or hooks.batch is not None:
        return Place.data
    if issubclass(kind, Edit) or hooks.rates is not None or kind.name == "norm":
        return Place.network
    steps = (hooks.transform, hooks.noise, hooks.memory, hooks.stopping, hooks.lr)
    if any(hook is not None for hook in steps):
        return Place.path
    return Place.objective


def by_place(kinds: Mapping[str, type[Technique]]) -> dict[Place, dict[str, type[Technique]]]:
    """All techniques by name, place by place."""
    found: dict[Place, dict[str, type[Technique]]] = {place: {} for place in Place}
    for name, kind in kinds.items():
        found[place_of(kind)][name] = kind
    return found


def overview(kinds: Mapping[str, type[Technique]], width: int) -> list[str]:
    """For the terminal: a heading for each place, and below it a line or two for each technique."""
    longest = max(map(len, kinds))
    lines: list[str] = []
    for place, members in by_place(kinds).items():
        lines += ["", place] if lines else [place]
        for name, kind in members.items():
            summary = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
            indent = " " * (longest + 4)
            lines += textwrap.wrap(
                summary, width, initial_indent=f"  {name:{longest}}  ", subsequent_indent=indent
            )
    return lines
