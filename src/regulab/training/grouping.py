"""Grouping: parameters of a stack that are updated in one go, because every update of theirs is element by element.

A step over twelve small parameters is a hundred tiny operations, each of which costs more to start than to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regulab.techniques.technique import Hooks, Parameter
from regulab.training.optimizers import Slots


@dataclass
class Group:
    """Parameters ``(R, *shape)`` that are views of one ``value`` ``(R, P)``; a single one keeps its own shape."""

    names: Sequence[str]
    parameters: Sequence[nn.Parameter]
    is_weight: bool
    value: Tensor
    slots: Slots

    @property
    def name(self) -> str:
        return self.names[0] if len(self.names) == 1 else ("weights" if self.is_weight else "others")

    def shown(self, value: Tensor) -> Parameter:
        """A value of the group as techniques see it."""
        return Parameter(self.name, value, self.is_weight)

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of a tensor like ``value``, by the names of the parameters."""
        return {
            name: part.unflatten(1, p.shape[1:]) if p.ndim > 1 else part.flatten()
            for name, p, part in zip(self.names, self.parameters, self._parts(flat), strict=True)
        }

    def _parts(self, flat: Tensor) -> Sequence[Tensor]:
        return flat.view(flat.shape[0], -1).split([p[0].numel() for p in self.parameters], 1)


def group(
    named: Sequence[tuple[str, nn.Parameter]],
    weight_names: frozenset[str],
    slots: Mapping[str, Slots],
    together: bool,
) -> list[Group]:
    """The parameters, which become views; all weights in one group and all others in one if ``together``."""
    keys: dict[object, list[tuple[str, nn.Parameter]]] = {}
    for name, p in named:
        keys.setdefault(name in weight_names if together else name, []).append((name, p))
    return [_group(members, members[0][0] in weight_names, slots) for members in keys.values()]


def _group(members: Sequence[tuple[str, nn.Parameter]], is_weight: bool, slots: Mapping[str, Slots]) -> Group:
    names, parameters = [name for name, _ in members], [p for _, p in members]
    value = joined([p.data for p in parameters])
    kept = tuple(joined(parts) for parts in zip(*(slots[name] for name in names), strict=True))
    made = Group(names, parameters, is_weight, value, kept)
    values = made.split(made.value)
    for name, p in members:
        p.data = values[name]
    return made


def joined(parts: Sequence[Tensor]) -> Tensor:
    """``(R, P)``, or the shape that it has if there is one alone; never a view of them."""
    return (
        parts[0].clone()
        if len(parts) == 1
        else torch.cat([part.reshape(part.shape[0], -1) for part in parts], 1)
    )


def all_elementwise(hooks: Mapping[str, Hooks]) -> bool:
    """Whether no technique of a fleet looks at a parameter's shape or name."""
    changing = (one for one in hooks.values() if one.gradient or one.proximal or one.decay)
    return all(one.elementwise for one in changing)
