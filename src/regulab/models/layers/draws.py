"""Random layers draw from streams keyed by the seed and the layer's own name, so that all arms of a seed share the
draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Draw = Callable[[torch.Size], Tensor]
UNBOUND = "a layer that draws trains with the draws of a seed: see bind_layers"
SeedsDraw = Callable[[torch.Size], Sequence[Tensor] | Tensor]
OneRunsDraw = Callable[[int], Tensor]  # a run's position to what it draws from torch's generator


class RandomLayer(nn.Module):
    """A layer that draws in training. ``self.draw(shape)`` is bound from outside and gives int16 numbers.

    They are uniform over all 65,536 values, and follow from seed, epoch, step and the layer's qualified name; shapes
    have two dimensions at least, and of ``(B, C, H, W)`` the memory is channels-last. ``by_image`` is False for one
    that draws for all images of a batch alike, as for weights.
    """

    draw: Draw | None = None
    by_image: bool = True


class StackedRandomLayer(nn.Module):
    """The same layer for R runs, where run r has seed ``seed_of[r]``; ``draw(shape)`` gives one tensor for each seed.

    ``shape`` is the one that the plain layer asks for. ``hashed`` gives the same draws before they are made, where a
    device hashes them (`regulab.models.hashed_draws.Hashed`); a step takes them from one of the two.
    """

    draw: SeedsDraw | None
    hashed: Callable[[torch.Size], Any] | None = None

    def __init__(self, runs: int) -> None:
        super().__init__()
        self.bind(range(runs), None)

    def bind(
        self,
        seed_of: Sequence[int],
        draw: SeedsDraw | None,
        hashed: Callable[[torch.Size], Any] | None = None,
    ) -> None:
        self.seed_of, self.draw, self.hashed = list(seed_of), draw, hashed
        self._seeds: Tensor | None = None

    def drawn(self, shape: torch.Size) -> list[Tensor]:
        """The draw of its seed for each run."""
        assert self.draw is not None
        each = self.draw(shape)
        return [each[seed] for seed in self.seed_of]

    def seeds_on(self, device: torch.device) -> Tensor:
        """``seed_of`` as a tensor, made once for a device."""
        if self._seeds is None or self._seeds.device != device:
            self._seeds = torch.tensor(self.seed_of, device=device)
        return self._seeds


class RatesOfRuns(StackedRandomLayer):
    """Stands in a stack for a layer that drops out, at a rate of each run's own.

    ``set_by`` and ``share``: those of the layer (`regulab.models.layers.dropout.Rated`).
    """

    def __init__(self, rates: Sequence[float], set_by: str = "dropout", share: float = 1.0) -> None:
        super().__init__(len(rates))
        self.set_by, self.share = set_by, share
        self.set_rates(rates)

    def set_rates(self, rates: Sequence[float]) -> None:
        self.rates = list(rates)


class TorchSource(Protocol):
    """Draws from torch's generator for several runs."""

    def draw(self, one_run: OneRunsDraw) -> Tensor: ...
    def mark(self) -> None: ...
    def rewind(self) -> None: ...


class TorchDraws(nn.Module):
    """Where a stack of networks gets what they draw from torch's generator; ``source`` is bound from outside."""

    source: TorchSource | None = None


class DrawsInCalls(nn.Module):
    """A stack whose forward pass calls dropout as a function.

    ``call_draw(name, shape)`` gives one tensor for each seed; run r has seed ``call_seed_of[r]``.
    """

    call_draw: Callable[[str, torch.Size], Sequence[Tensor] | Tensor] | None = None
    call_seed_of: Sequence[int] = ()


def bind_layers(module: nn.Module, draw: Callable[[str, torch.Size], Tensor]) -> None:
    """Lets the random layers of a plain module draw from a source, under their qualified names."""
    for name, layer in module.named_modules():
        if isinstance(layer, RandomLayer):
            layer.draw = partial(draw, name)


def bind_draws(
    module: nn.Module,
    seed_of: Sequence[int],
    draw: Callable[[str, torch.Size], Sequence[Tensor] | Tensor],
    hashed: Callable[[str, torch.Size], Any] | None = None,
) -> None:
    """Lets the random layers of a stack draw from a source for all seeds, under their qualified names."""
    for name, layer in module.named_modules():
        if isinstance(layer, StackedRandomLayer):
            layer.bind(seed_of, partial(draw, name), hashed and partial(hashed, name))
    if isinstance(module, DrawsInCalls):
        module.call_draw, module.call_seed_of = draw, list(seed_of)


class Repeatable:
    """Lets the random layers of a module, plain or stacked, repeat their draws within a step."""

    def __init__(self, module: nn.Module) -> None:
        self._kept: dict[str, list[Any]] = {}
        self._again: dict[str, Iterator[Any]] | None = None
        self._torch = [layer for layer in module.modules() if isinstance(layer, TorchDraws)]
        for name, layer in module.named_modules():
            if isinstance(layer, RandomLayer | StackedRandomLayer) and layer.draw is not None:
                layer.draw = partial(self._drawn, name, layer.draw)
            if isinstance(layer, StackedRandomLayer) and layer.hashed is not None:
                layer.hashed = partial(self._drawn, name, layer.hashed)
        if isinstance(module, DrawsInCalls) and module.call_draw is not None:
            module.call_draw = self.named(module.call_draw)

    def begin(self) -> None:
        """A new step, with new draws."""
        self._kept, self._again = {}, None
        for layer in self._torch:
            assert layer.source is not None, UNBOUND
            layer.source.mark()

    def repeat(self) -> None:
        """From here on the draws of this step come once more, for each layer in the order of its calls."""
        self._again = {name: iter(kept) for name, kept in self._kept.items()}
        for layer in self._torch:
            assert layer.source is not None, UNBOUND
            layer.source.rewind()

    def named(self, draw: Callable[[str, torch.Size], Any]) -> Callable[[str, torch.Size], Any]:
        """The same for draws that are asked for by name."""
        return lambda name, shape: self._drawn(name, partial(draw, name), shape)

    def _drawn(self, name: str, draw: Callable[[torch.Size], Any], shape: torch.Size) -> Any:
        if self._again is not None:
            return next(self._again[name])
        drawn = draw(shape)
        self._kept.setdefault(name, []).append(drawn)
        return drawn
