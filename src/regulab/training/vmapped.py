"""R networks as one by `torch.func.vmap`: for those that no rule stacks, such as transformers and recurrent ones.

Any code that vmap takes trains as a fleet, with batches, draws and launches shared; what it does not take is refused
with the line of the person's file.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import vmap

from regulab.models.drawn_calls import DrawnCalls
from regulab.models.layers.draws import DrawsInCalls, RandomLayer, RatesOfRuns, StackedRandomLayer, TorchDraws
from regulab.models.layers.dropout import Rated
from regulab.models.stacking import Unstackable
from regulab.training.across_runs import across_runs
from regulab.training.pass_causes import why_not_copied
from regulab.training.run_dropout import Position, RunDropout
from regulab.training.run_functions import RateOfRuns, RunFunctions
from regulab.training.vmap_reasons import reason

Tensors = dict[str, Any]  # a layer's parameters or buffers
TORCH = "regulab torch"  # no name that a person's layer can have as an attribute


class VmappedNetwork(DrawsInCalls):
    """R networks of one architecture: ``(B, R·C, H, W) → (B, R·classes)``, as a stack of them.

    It holds no layers, only their parameters and buffers, ``(R, *shape)`` under the names that they have in one
    network; ``network`` is a copy of one, whose forward pass is called with them. Products are computed in ``lower``
    where parameters are float32, as autocast does. `Unstackable` where vmap cannot.
    """

    def __init__(self, modules: Sequence[nn.Module], lower: torch.dtype | None = None) -> None:
        super().__init__()
        self._lower, self._position = lower, Position()
        self._network = [_copied(modules[0])]  # in a list: what is called, not a submodule
        self._rated: list[tuple[nn.RNNBase | nn.MultiheadAttention, RatesOfRuns]] = []
        self._tensors = StackedTensors(modules, self.network, self._taken_over)
        self._tensors.fill(self, "")
        self.add_module(TORCH, TorchDraws())

    @property
    def network(self) -> nn.Module:
        return self._network[0]

    def forward(self, x: Tensor) -> Tensor:
        """Each run gets its images in memory of their own, as a loader gives them, so that ``x.view(B, -1)`` works."""
        for layer, source in self._rated:
            layer.dropout = RateOfRuns.of(source.rates, self._position)  # as selections leave them
        tensors = self._tensors.present()
        runs = torch.arange(len(tensors[0]), device=x.device)
        own = x.unflatten(1, (len(runs), -1)).transpose(0, 1).contiguous()
        warn = vars(torch._C)["_functorch"]._set_vmap_fallback_warning_enabled
        warn(False)  # of functions that torch calls run by run, as it has no rule for them: right, and seldom
        try:
            y: Tensor = vmap(self._one_run)(tensors, own, runs)
        except Unstackable:
            raise
        except Exception as error:  # a person's forward pass may fail in any way
            raise Unstackable(reason(error)) from error
        finally:
            warn(True)
            self._position.run = None
        return y.transpose(0, 1).flatten(1)

    def _one_run(self, tensors: Sequence[Tensor], x: Tensor, run: Tensor) -> Tensor:
        self._position.run = run
        torch_draws = self.get_submodule(TORCH)
        assert isinstance(torch_draws, TorchDraws)
        drawn = DrawnCalls(partial(self._position.drawn_in_call, self)) if self.training else nullcontext()
        autocast = torch.autocast(x.device.type, self._lower, enabled=self._lower is not None)
        with autocast, RunFunctions(run, self._lower, torch_draws), drawn, self._tensors.put_in(tensors):
            y = self.network(x)
        if not isinstance(y, Tensor):
            raise Unstackable(f"it gives {type(y).__name__}, not a tensor (B, classes)")
        return y

    def train(self, mode: bool = True) -> Self:
        """The network's own ``train`` is called, which may be a person's."""
        self.network.train(mode)
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Goes to a device or a type with all that the network holds beside parameters and buffers."""
        self.network._apply(fn)
        made: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch types neither
        return made

    def _taken_over(self, layer: nn.Module, alike: Sequence[nn.Module]) -> nn.Module:
        """What stands in the place of a layer: it draws, or has a rate, or holds nothing but tensors."""
        if isinstance(layer, Rated):
            rates = [one.rate for one in alike if isinstance(one, Rated)]
            source = RatesOfRuns(rates, layer.set_by, layer.share)
            layer.forward = RunDropout(layer, source, self._position)
            return source
        if isinstance(layer, RandomLayer):
            drawing = StackedRandomLayer(len(alike))
            layer.draw = partial(self._position.drawn, drawing)
            return drawing
        if isinstance(
            layer, nn.RNNBase
        ):  # it would ask where in memory its weights lie, which vmap does not say
            layer.flatten_parameters = _nothing  # type: ignore[method-assign]
        if isinstance(layer, nn.RNNBase | nn.MultiheadAttention) and layer.dropout > 0:
            own = [one.dropout for one in alike if isinstance(one, nn.RNNBase | nn.MultiheadAttention)]
            self._rated.append((layer, RatesOfRuns(own)))
            return self._rated[-1][1]
        return nn.Module()


class StackedTensors:
    """Parameters and buffers of R networks ``(R, *shape)``, and where they belong in one of them."""

    def __init__(
        self,
        modules: Sequence[nn.Module],
        network: nn.Module,
        taken_over: Callable[[nn.Module, Sequence[nn.Module]], nn.Module],
    ) -> None:
        self._modules, self._network, self._taken_over = modules, network, taken_over
        self._layers: dict[int, nn.Module] = {}
        self._made: list[tuple[Tensors, str]] = []  # where each stacked tensor is held
        self._places: list[tuple[Tensors, str, int]] = []  # where in the network which of them belongs
        self._known: dict[int, int] = {}

    def fill(self, holder: nn.Module, path: str) -> None:
        """Gives ``holder`` what the layers at ``path`` hold, and their children; what two places share stays shared."""
        alike = [module.get_submodule(path) for module in self._modules]
        layer = self._network.get_submodule(path)
        for name in layer._parameters:
            self._hold(holder, layer, name, [one._parameters[name] for one in alike])
        for name in layer._buffers:
            self._hold(holder, layer, name, [one._buffers[name] for one in alike])
        for name, child in layer._modules.items():
            if child is not None and id(child) not in self._layers:
                below = f"{path}.{name}".lstrip(".")
                made = self._taken_over(child, [module.get_submodule(below) for module in self._modules])
                self._layers[id(child)] = made
                self.fill(made, below)
            if child is not None:
                holder._modules[name] = self._layers[id(child)]

    def _hold(self, holder: nn.Module, layer: nn.Module, name: str, tensors: Sequence[Tensor | None]) -> None:
        trained = name in layer._parameters
        ours: Tensors = holder._parameters if trained else holder._buffers
        theirs: Tensors = layer._parameters if trained else layer._buffers
        first = tensors[0]
        if first is None:
            ours[name] = None
            return
        if id(first) not in self._known:
            together = torch.stack([one.detach() for one in tensors if one is not None])
            ours[name] = nn.Parameter(together, first.requires_grad) if trained else together
            self._known[id(first)] = len(self._made)
            self._made.append((ours, name))
        number = self._known[id(first)]
        held, other = self._made[number]
        ours[name] = held[other]
        self._places.append((theirs, name, number))

    def present(self) -> list[Tensor]:
        """All of them as they are now."""
        tensors = (held[name] for held, name in self._made)
        return [tensor for tensor in tensors if tensor is not None]

    @contextmanager
    def put_in(self, tensors: Sequence[Tensor]) -> Iterator[None]:
        """Inside, the network has these tensors; buffers that its pass puts in their place are written into them."""
        before = [held[name] for held, name, _ in self._places]
        try:
            for held, name, number in self._places:
                held[name] = tensors[number]
            yield
            for held, name, number in self._places:
                now = held[name]
                if now is not None and now is not tensors[number]:
                    across_runs(_write, tensors[number], now.detach())
        finally:
            for (held, name, _), tensor in zip(self._places, before, strict=True):
                held[name] = tensor


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:  # a person's network may hold anything
        raise Unstackable(why_not_copied(module, error)) from error


def _nothing() -> None: ...


def _write(_runs: int, tensors: Sequence[Tensor | None]) -> Tensor:
    """Writes what the second holds into the first, of all runs.

    Behind autograd's back: all buffers of a fleet are views of one vector, and a layer that saved its part for its
    backward pass would be told that it changed.
    """
    held, new = tensors
    assert held is not None
    assert new is not None
    held.data.copy_(new)
    return held.data.new_empty(len(held))
