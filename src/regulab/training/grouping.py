"""Grouping: parameters of a stack are updated in one go where all their updates are element by element.

A step over twelve small parameters is a hundred tiny operations, each of which costs more to launch than to compute.
The same goes for buffers, which a run whose loss is not finite must get back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regulab.optimizers.optimizer import State
from regulab.techniques.technique import Hooks, Parameter


@dataclass
class Group:
    """Parameters ``(R, *shape)`` that are views of one ``value`` ``(R, P)``; a single one keeps its own shape."""

    names: Sequence[str]
    parameters: Sequence[nn.Parameter]
    is_weight: bool
    before_norm: bool
    value: Tensor
    state: State  # what the optimizer and then techniques remember, each tensor like ``value``

    @property
    def name(self) -> str:
        return self.names[0] if len(self.names) == 1 else ("weights" if self.is_weight else "others")

    def shown(self, value: Tensor) -> Parameter:
        """A value of the group as techniques see it."""
        return Parameter(self.name, value, self.is_weight, self.before_norm)

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of a tensor like ``value``, by the names of the parameters."""
        return {
            name: part.unflatten(1, p.shape[1:]) if p.ndim > 1 else part.flatten()
            for name, p, part in zip(self.names, self.parameters, self._parts(flat), strict=True)
        }

    def _parts(self, flat: Tensor) -> Sequence[Tensor]:
        return torch.split(flat.view(flat.shape[0], -1), [p[0].numel() for p in self.parameters], 1)


def group(
    named: Sequence[tuple[str, nn.Parameter]],
    weight_names: frozenset[str],
    before_norm: frozenset[str],
    states: Mapping[str, State],
    together: bool,
) -> list[Group]:
    """The parameters, which become views; all weights in one group and all others in one if ``together``.

    Weights ``before_norm``, where a technique asks for them, are then in a group of their own.
    """
    keys: dict[object, list[tuple[str, nn.Parameter]]] = {}
    for name, p in named:
        key = (name in weight_names, name in before_norm) if together else name
        keys.setdefault(key, []).append((name, p))
    kinds = [(name in weight_names, name in before_norm) for (name, _), *_ in keys.values()]
    return [_group(members, *kind, states) for members, kind in zip(keys.values(), kinds, strict=True)]


def _group(
    members: Sequence[tuple[str, nn.Parameter]],
    is_weight: bool,
    before_norm: bool,
    states: Mapping[str, State],
) -> Group:
    names, parameters = [name for name, _ in members], [p for _, p in members]
    value = joined([p.data for p in parameters])
    kept = tuple(joined(parts) for parts in zip(*(states[name] for name in names), strict=True))
    made = Group(names, parameters, is_weight, before_norm, value, kept)
    values = made.split(made.value)
    for name, p in members:
        p.data = values[name]
    return made


def joined(parts: Sequence[Tensor]) -> Tensor:
    """``(R, P)``, or its own shape if there is only one; never a view."""
    return (
        parts[0].clone()
        if len(parts) == 1
        else torch.cat([part.reshape(part.shape[0], -1) for part in parts], 1)
    )


def all_elementwise(hooks: Mapping[str, Hooks]) -> bool:
    """Whether no technique of a fleet looks at a parameter's shape or name."""
    changing = (
        one for one in hooks.values() if one.gradient or one.makes_zeros or one.decay or one.constrain
    )
    return all(one.elementwise for one in changing)


class Buffers:
    """The buffers ``(R, *shape)`` of a stack as views of one vector for each of their types."""

    def __init__(self, stack: nn.Module) -> None:
        self._values: list[Tensor] = []
        self._runs: list[Tensor] = []  # whose an element is
        named = list(stack.named_buffers())
        for dtype in dict.fromkeys(buffer.dtype for _, buffer in named):
            members = [(name, buffer) for name, buffer in named if buffer.dtype == dtype]
            value = torch.cat([buffer.flatten() for _, buffer in members])
            parts = value.split([buffer.numel() for _, buffer in members])
            for (name, buffer), part in zip(members, parts, strict=True):
                replace_buffer(stack, name, part.view(buffer.shape))
            runs = [torch.arange(b.shape[0], device=b.device) for _, b in members]
            each = [b[0].numel() for _, b in members]
            self._values.append(value)
            self._runs.append(
                torch.cat([run.repeat_interleave(n) for run, n in zip(runs, each, strict=True)])
            )

    def copies(self) -> list[Tensor]:
        return [value.clone() for value in self._values]

    def set(self, copies: Sequence[Tensor]) -> None:
        for value, copy in zip(self._values, copies, strict=True):
            value.copy_(copy)

    def put_back(self, copies: Sequence[Tensor], fine: Tensor) -> None:
        """Runs that are not ``fine`` ``(R,)`` get back what was copied."""
        for value, old, run in zip(self._values, copies, self._runs, strict=True):
            torch.where(fine.index_select(0, run), value, old, out=value)


def replace_buffer(module: nn.Module, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(path), leaf, value)
