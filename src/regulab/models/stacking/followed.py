"""Modules whose own code is followed: it gets `RunTensor`, and finds its parameters and buffers as such."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from regulab.models.drawn_calls import DrawnCalls
from regulab.models.guard import words_of
from regulab.models.layers.draws import DrawsInCalls
from regulab.models.stacking.dropout import StackedDropout
from regulab.models.stacking.layers import StackedConv2d
from regulab.models.stacking.norms import StackedBatchNorm
from regulab.models.stacking.pending import PendingMaps, begun, continued
from regulab.models.stacking.run_tensor import (
    ForwardPass,
    RunTensor,
    place_in_code,
    runs_first,
    side_by_side,
    through,
)
from regulab.models.stacking.unstackable import Unstackable

PASS = "pass_of_runs"


class FollowedModule(nn.Module):
    """Made of a person's class: inside a forward pass a parameter ``(R, *shape)`` has one run's shape."""

    def __init_subclass__(cls, **_: Any) -> None:
        """The person's class is not asked: its own may want arguments, or register what is made of it."""

    def __getattr__(self, name: str) -> Any:
        try:
            value = super().__getattr__(name)
        except AttributeError:
            like = vars(self).get("like")  # a layer that a rule made asks the layer that it stands for
            if not like or isinstance(getattr(like[0], name, None), Tensor):
                raise
            return getattr(like[0], name)
        of: ForwardPass = vars(self)[PASS]
        if not (isinstance(value, Tensor) and of.active):
            return value
        if name in self._buffers:
            of.compute_all()  # a layer that waits may be about to write it
        return RunTensor(value, 0, of)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, RunTensor) and name in self._buffers:
            value.of.compute_all()
            with torch.no_grad():  # in place: in a fleet it is part of a longer vector
                self._buffers[name].copy_(runs_first(value))  # type: ignore[union-attr]
        else:
            super().__setattr__(name, value)


class FollowedLayer(FollowedModule):
    """Made of a layer that a rule stacks: called with a `RunTensor`, it gets what it knows."""

    def __call__(self, x: Any, *more: Any, **named: Any) -> Any:
        if more or named:
            raise Unstackable(f"{place_in_code()}{type(self).__name__} is called with more than one tensor")
        if not isinstance(x, RunTensor):
            of: ForwardPass = vars(self)[PASS]
            if of.active:  # what does not depend on the images, as the places of an embedding
                return self(RunTensor(x.expand(of.runs, *x.shape), 0, of))
            return super().__call__(x)  # within a layer that was fused
        if (pending := _pending(self, x)) is not None:
            return pending
        on_runs = getattr(type(self), "on_runs", None)
        if on_runs is None:
            return through(super().__call__, x)
        x.of.active = False
        try:
            return on_runs(self, x)
        finally:
            x.of.active = True


def _pending(layer: nn.Module, x: RunTensor) -> PendingMaps | None:
    """What a layer gives, pending, where it may be computed together with others; None where it is to be called."""
    if isinstance(layer, StackedConv2d):
        return begun(layer, layer.like[0], x)
    if isinstance(layer, StackedBatchNorm):
        mean = layer._buffers[
            "running_mean"
        ]  # as it is: not one run's, for which what waits would be computed
        assert mean is not None
        return continued(layer, x) if x.ndim == 4 and mean.shape[1] == x.shape[1] else None
    return continued(layer, x) if isinstance(layer, StackedDropout) else None


class FollowedRecurrent(FollowedModule):
    """Made of torch's recurrent layers, which keep their weights in a list beside."""

    @property
    def _flat_weights(self) -> list[Any]:
        return [getattr(self, name) for name in self._flat_weights_names]

    @_flat_weights.setter
    def _flat_weights(self, _: Any) -> None: ...


class FollowedNetwork(FollowedModule, DrawsInCalls):
    """Made of the network's class: takes ``(B, R·C, H, W)`` and gives ``(B, R·classes)``, as every stack does."""

    def forward(self, x: Tensor) -> Any:
        of: ForwardPass = vars(self)[PASS]
        of.runs = next(self.parameters()).shape[0]
        of.calls = DrawnCalls(partial(self._draw_of_runs, of)) if self.training and self.call_draw else None
        of.active = True
        try:
            y = super().forward(RunTensor(x.unflatten(1, (of.runs, -1)), 1, of))
            of.compute_all()
        finally:
            of.active, of.calls = False, None
            of.waiting.clear()
        return side_by_side(y) if isinstance(y, RunTensor) and y.ndim == 2 else y

    def _draw_of_runs(self, of: ForwardPass, name: str, shape: torch.Size) -> Tensor:
        """Draws of the runs' seeds, or of all of them at once where there is one seed."""
        assert self.call_draw is not None
        each = self.call_draw(name, shape)
        if len(each) == 1:
            return each[0]
        draws = each if isinstance(each, Tensor) else torch.stack(list(each))
        seed_of = torch.tensor(self.call_seed_of, device=draws.device)
        # Beside the images, where the maps have their runs, in memory too.
        return RunTensor(draws.movedim(0, 1).index_select(1, seed_of), 1, of)


def follow(module: nn.Module, kind: type[FollowedModule], of: ForwardPass) -> nn.Module:
    """The module with a class made of ``kind`` and its own; `Unstackable` where Python allows none."""
    vars(module)[PASS] = of
    own = type(module)
    try:
        if (kind, own) not in of.classes:
            of.classes[kind, own] = type(own.__name__, (kind, own), {"__module__": own.__module__})
        module.__class__ = of.classes[kind, own]
    except Exception as error:  # a metaclass may be a person's
        raise Unstackable(f"no class can be made of {own.__name__}: {words_of(error)}") from error
    return module
