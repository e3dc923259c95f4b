"""Random networks of the layers and operations that people use, right and wrong ones, for the property test.

A network is a program: a list of steps, each with the layers that it needs. Some of the steps treat every channel
alike, so that runs can stand side by side in the channels; others look across channels, keep state, draw at random or
start at zero. What a step is called says what it does; whether a fleet can take it is for regulab to find out.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 10
Step = Callable[["Network", list[nn.Module], Tensor], Tensor]


class Network(nn.Module):
    """``(B, 1, 8, 8)`` to ``(B, 10)`` by the steps that ``random.Random(seed)`` chose."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        choose = random.Random(seed)
        self.calls = 0
        self.layers = nn.ModuleList()
        self.steps: list[tuple[str, list[int]]] = []
        channels, size = 1, 8
        wild = choose.random() < 0.6  # every other step may then be one that a fleet cannot take
        for place in range(choose.randint(2, 5)):
            likely = WILD if wild and place % 2 else [name for name in STEPS if name not in WILD]
            name = choose.choice(
                [name for name in likely if STEPS[name][0](channels, size)] or list(STEPS)[:1]
            )
            channels, size = self._add(name, channels, size, choose)
        heads = list(HEADS) if wild else list(HEADS)[:2]
        self._add(choose.choice(heads), channels, size, choose)
        if choose.random() < 0.15:
            self.layers.append(nn.Linear(3, 3))  # takes no part
        if choose.random() < 0.15:
            next(self.parameters()).requires_grad_(False)

    def _add(self, name: str, channels: int, size: int, choose: random.Random) -> tuple[int, int]:
        _, make, _ = {**STEPS, **HEADS}[name]
        layers, channels, size = make(channels, size, choose)
        first = len(self.layers)
        self.layers.extend(layers)
        self.steps.append((name, list(range(first, first + len(layers)))))
        return channels, size

    def forward(self, x: Tensor) -> Tensor:
        for name, places in self.steps:
            *_, step = {**STEPS, **HEADS}[name]
            x = step(self, [self.layers[place] for place in places], x)
        return x


def any_map(channels: int, size: int) -> bool:
    return True


def even(channels: int, size: int) -> bool:
    return channels % 2 == 0


def large(channels: int, size: int) -> bool:
    return size >= 4


def several(channels: int, size: int) -> bool:
    return channels > 1


def norm(channels: int, choose: random.Random) -> nn.Module:
    return choose.choice(
        [
            lambda: nn.BatchNorm2d(channels),
            lambda: nn.BatchNorm2d(channels, affine=False),
            lambda: nn.BatchNorm2d(channels, momentum=0.3, eps=1e-3),
            lambda: nn.GroupNorm(1, channels),
            lambda: nn.InstanceNorm2d(channels, affine=True),
            lambda: nn.Identity(),
        ]
    )()


MODES: list[Literal["zeros", "reflect"]] = ["zeros"] * 12
MODES.append("reflect")


def activation(choose: random.Random) -> nn.Module:
    kinds = (nn.ReLU, nn.GELU, nn.LeakyReLU, nn.Tanh, nn.SiLU, lambda: nn.ReLU(inplace=True), nn.PReLU)
    return choose.choices(kinds, [4, 2, 2, 2, 2, 2, 1])[0]()


def conv_norm(channels: int, size: int, choose: random.Random) -> tuple[list[nn.Module], int, int]:
    outputs = choose.choice([4, 6, 8])
    mode = choose.choice(MODES)
    conv = nn.Conv2d(channels, outputs, 3, padding=1, bias=choose.random() < 0.5, padding_mode=mode)
    return [nn.Sequential(conv, norm(outputs, choose), activation(choose))], outputs, size


def conv_pool(channels: int, size: int, choose: random.Random) -> tuple[list[nn.Module], int, int]:
    kinds = [nn.Identity(), nn.Dropout(0.2), nn.Dropout(0.5), nn.Dropout2d(0.2), nn.AlphaDropout(0.1)]
    dropout = choose.choices(kinds, [4, 4, 2, 1, 1])[0]
    layers = [nn.Conv2d(channels, 6, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(6), nn.ReLU(), dropout]
    return [nn.Sequential(*layers)], 6, size // 2


def same_shape(make: Callable[[int, random.Random], list[nn.Module]]) -> Callable[..., Any]:
    return lambda channels, size, choose: (make(channels, choose), channels, size)


def nothing(channels: int, choose: random.Random) -> list[nn.Module]:
    return []


def inner(channels: int, choose: random.Random) -> list[nn.Module]:
    return [nn.Conv2d(channels, channels, 3, padding=1, bias=False), norm(channels, choose)]


def zero_started(channels: int, choose: random.Random) -> list[nn.Module]:
    conv = nn.Conv2d(channels, channels, 1)
    nn.init.zeros_(conv.weight)
    return [conv]


def gate(channels: int, choose: random.Random) -> list[nn.Module]:
    return [nn.Linear(channels, channels)]


def run_all(net: Network, layers: list[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def residual_in_place(net: Network, layers: list[nn.Module], x: Tensor) -> Tensor:
    y = run_all(net, layers, x)
    y += x
    return F.relu_(y)


def concatenated(net: Network, layers: list[nn.Module], x: Tensor) -> Tensor:
    return torch.cat([x, run_all(net, layers, x)], 1)


def halves_multiplied(net: Network, layers: list[nn.Module], x: Tensor) -> Tensor:
    left, right = x.chunk(2, 1)
    return torch.cat([left * right.sigmoid(), right], 1)


def shuffled(net: Network, layers: list[nn.Module], x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.reshape(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


def squeeze_excite(net: Network, layers: list[nn.Module], x: Tensor) -> Tensor:
    return x * layers[0](x.mean((2, 3))).sigmoid()[:, :, None, None]


def counted(net: Network, layers: list[nn.Module], x: Tensor) -> Tensor:
    net.calls += 1
    return x * (1 + 0.01 * (net.calls % 3))


def sometimes(net: Network, layers: list[nn.Module], x: Tensor) -> Tensor:
    return x if net.training and random.random() < 0.5 else run_all(net, layers, x) + x


def noisy(net: Network, layers: list[nn.Module], x: Tensor) -> Tensor:
    return x + 0.1 * torch.randn_like(x) if net.training else x


# name: (whether it fits channels and size, (channels, size, choose) -> layers, channels, size; what it does)
STEPS: dict[str, tuple[Callable[[int, int], bool], Callable[..., Any], Step]] = {
    "conv, norm, activation": (any_map, conv_norm, run_all),
    "conv, pool, norm, dropout": (large, conv_pool, run_all),
    "residual": (any_map, same_shape(inner), lambda net, layers, x: x + run_all(net, layers, x)),
    "residual in place": (any_map, same_shape(inner), residual_in_place),
    "the same layer twice": (
        any_map,
        same_shape(inner),
        lambda n, ls, x: run_all(n, ls, run_all(n, ls, x).relu()),
    ),
    "zero-started branch": (any_map, same_shape(zero_started), lambda n, ls, x: x + run_all(n, ls, x)),
    "concatenated": (any_map, lambda c, s, choose: (inner(c, choose), 2 * c, s), concatenated),
    "halves multiplied": (even, same_shape(nothing), halves_multiplied),
    "channels shuffled": (even, same_shape(nothing), shuffled),
    "softmax over channels": (several, same_shape(nothing), lambda n, ls, x: x * x.softmax(1)),
    "mean over channels": (several, same_shape(nothing), lambda n, ls, x: x - x.mean(1, keepdim=True)),
    "squeeze and excite": (several, same_shape(gate), squeeze_excite),
    "largest value of all": (
        any_map,
        same_shape(nothing),
        lambda n, ls, x: x / x.detach().abs().amax().clamp(min=1),
    ),
    "norm of an image": (
        any_map,
        same_shape(nothing),
        lambda n, ls, x: F.normalize(x.flatten(1)).view_as(x) * 8,
    ),
    "functional dropout": (any_map, same_shape(nothing), lambda n, ls, x: F.dropout(x, 0.1, n.training)),
    "not differentiated": (any_map, same_shape(nothing), lambda n, ls, x: x + x.detach().tanh()),
    "counted": (any_map, same_shape(nothing), counted),
    "sometimes left out": (any_map, same_shape(inner), sometimes),
    "noise": (any_map, same_shape(nothing), noisy),
    "contiguous view": (any_map, same_shape(nothing), lambda n, ls, x: x.view(x.size(0), -1).view(x.shape)),
}


WILD = [
    "concatenated",
    "halves multiplied",
    "channels shuffled",
    "softmax over channels",
    "mean over channels",
    "largest value of all",
    "norm of an image",
    "functional dropout",
    "counted",
    "sometimes left out",
    "noise",
    "contiguous view",
]


def pooled_head(channels: int, size: int, choose: random.Random) -> tuple[list[nn.Module], int, int]:
    return [head(channels, choose)], CLASSES, 1


def flat_head(channels: int, size: int, choose: random.Random) -> tuple[list[nn.Module], int, int]:
    return [head(channels * size * size, choose)], CLASSES, 1


def double_head(channels: int, size: int, choose: random.Random) -> tuple[list[nn.Module], int, int]:
    return [head(2 * channels, choose)], CLASSES, 1


def head(features: int, choose: random.Random) -> nn.Linear:
    linear = nn.Linear(features, CLASSES)
    if choose.random() < 0.5:
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
    return linear


HEADS: dict[str, tuple[Callable[[int, int], bool], Callable[..., Any], Step]] = {
    "global pool": (any_map, pooled_head, lambda n, ls, x: ls[0](x.mean((2, 3)))),
    "flatten": (any_map, flat_head, lambda n, ls, x: ls[0](x.flatten(1))),
    "view": (any_map, flat_head, lambda n, ls, x: ls[0](x.view(x.size(0), -1))),
    "reshape with -1": (any_map, flat_head, lambda n, ls, x: ls[0](x.reshape(-1, ls_features(ls)))),
    "mean beside largest": (
        any_map,
        double_head,
        lambda n, ls, x: ls[0](torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)),
    ),
    "log softmax": (any_map, pooled_head, lambda n, ls, x: F.log_softmax(ls[0](x.mean((2, 3))), 1)),
}


def ls_features(layers: list[nn.Module]) -> int:
    """How many features the plain head takes; in a stack the layer does not say."""
    weight = layers[0].weight
    assert isinstance(weight, Tensor)
    return weight.shape[-1]
