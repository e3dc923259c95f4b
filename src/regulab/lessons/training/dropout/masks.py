"""What a dropped layer and a dropped network compute on average, against what they compute in inference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regulab.lessons.kit.laboratory import Trial
from regulab.models.layers.dropout import DropoutDraws, ElementDropout
from regulab.streams import Streams

DRAWS_SHOWN = 3
Floats = NDArray[np.float64]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Masks:
    """One image through a dropout layer: ``image`` (H, W, C) in [0, 1]; the others ``(…, C, H, W)``."""

    image: Array
    activations: Array
    draws: Array
    dropped: NDArray[np.bool_]
    mean: Array  # over many draws


@dataclass(frozen=True)
class Expectation:
    """Values in inference and their means over draws, ``(n,)``, and how many standard errors lie between."""

    inference: Array
    mean: Array
    off: Floats
    variance_ratio: float = float("nan")  # of a layer
    same_class: float = float("nan")  # of the network, percent


RATE = 0.3  # where one rate is looked at
LAYER_DRAWS, NETWORK_DRAWS = 4000, 300  # masks for one layer of one image, and for the network


def drop_at(module: nn.Module, rate: float, streams: Streams) -> None:
    """Inference mode, but every dropout layer drops at ``rate`` with the draws of ``streams``."""
    module.eval()
    draws = DropoutDraws(streams)
    draws.bind(module)
    draws.begin(1)
    for layer in module.modules():
        if isinstance(layer, ElementDropout):
            layer.rate = rate
            layer.train()


def standard_errors_off(samples: Tensor, expected: Tensor) -> Tensor:
    """(mean − expected)/(s/√K) for ``samples`` ``(K, …)`` and ``expected`` ``(…)``; s with K − 1, nan where s = 0."""
    error = samples.std(0, correction=1) / math.sqrt(len(samples))
    return torch.where(error > 0, (samples.mean(0) - expected) / error, torch.nan)


def dropped_layer(trial: Trial, module: nn.Module, x: Tensor) -> tuple[Masks, Expectation]:
    """Draws of the first block's dropout layer for one image, and how far their mean is from its input."""
    block = module.get_submodule("blocks.0")
    layer = block.get_submodule("dropout")
    image = x[:1]
    with torch.no_grad():
        activations = module.eval().get_submodule("blocks.0")(image)
        drop_at(module, RATE, Streams("lesson dropout", 0))
        y = layer(activations.expand(LAYER_DRAWS, -1, -1, -1))
        dropped = layer(torch.ones_like(y[:DRAWS_SHOWN])) == 0
    shown = layer_draws(activations, dropped)
    active = (activations > 0)[0]
    z = standard_errors_off(y.double(), activations[0].double())
    ratio = y.double().var(0)[active] / (activations[0].double()[active].square() * RATE / (1 - RATE))
    pixels = trial.splits.validation.pixels[0].astype(np.float32) / np.float32(255)
    masks = Masks(
        image=pixels,
        activations=activations[0].numpy(),
        draws=shown.numpy(),
        dropped=dropped.numpy(),
        mean=y.mean(0).numpy(),
    )
    return masks, Expectation(
        inference=activations[0][active].numpy(),
        mean=y.mean(0)[active].numpy(),
        off=z[active].numpy(),
        variance_ratio=float(ratio.mean()),
    )


def layer_draws(activations: Tensor, dropped: Tensor) -> Tensor:
    """Activations ``(1, C, H, W)`` under masks ``(K, C, H, W)``, True where dropped."""
    return (activations / (1 - RATE)).masked_fill(dropped, 0)


def dropped_network(module: nn.Module, x: Tensor) -> Expectation:
    """Logits ``(N · classes,)``: without masks, and averaged over masks in all dropout layers."""
    with torch.no_grad():
        inference = module.eval()(x)
        drop_at(module, RATE, Streams("lesson dropout", 1))
        samples = torch.stack([module(x) for _ in range(NETWORK_DRAWS)])
    return Expectation(
        inference=inference.flatten().numpy(),
        mean=samples.mean(0).flatten().numpy(),
        off=standard_errors_off(samples.double(), inference.double()).flatten().numpy(),
        same_class=float((samples.mean(0).argmax(1) == inference.argmax(1)).double().mean() * 100),
    )
