"""The dropout rates of a stack's layers, of which every run has its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from regulab.models.layers.draws import RatesOfRuns
from regulab.models.stacking import StackedRates
from regulab.techniques.technique import Hooks


def set_rates(stack: nn.Module, techniques: Mapping[str, Hooks]) -> None:
    """Those that techniques set, each in the layers that follow it; the others stay."""
    for name, hooks in techniques.items():
        for layer in stack.modules() if hooks.rates is not None else ():
            if isinstance(layer, StackedRates | RatesOfRuns) and layer.set_by == name:
                assert hooks.rates is not None
                pairs = zip(layer.rates, hooks.rates, strict=True)
                layer.set_rates([own if rate is None else rate * layer.share for own, rate in pairs])


def select_rates(stack: nn.Module, positions: Sequence[int]) -> None:
    """Those of the other runs are gone."""
    for layer in stack.modules():
        if isinstance(layer, StackedRates | RatesOfRuns):
            layer.set_rates([layer.rates[position] for position in positions])
