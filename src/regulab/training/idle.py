"""Parameters that take no part: an unused head, a bias left over. They are trained around, and named."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from regulab.models.dropout import Dropout
from regulab.models.generators import keyed_generators
from regulab.streams import Streams

PASSES = 8  # in training mode: a network may leave out a layer at random


def idle_parameters(module: nn.Module, x: Tensor) -> frozenset[str]:
    """Names of the parameters that may be trained, but that no output of the network depends on.

    Looked for in inference and in several passes in training mode on a batch ``(B, C, H, W)``; works on a copy. What
    the optimizer does with them is torch's way: nothing. So no penalty touches them either, and no norm counts them.
    """
    module = copy.deepcopy(module)
    idle = {name for name, p in module.named_parameters() if p.requires_grad}
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.draw = partial(torch.ones, dtype=torch.int16)
    for step in range(PASSES + 1):
        if not idle:
            break
        module.train(step > 0)
        with keyed_generators(Streams("regulab", 0), "idle parameters", epoch=step):
            y = module(x.clone())
        if not y.requires_grad:
            continue
        named = [(name, p) for name, p in module.named_parameters() if name in idle]
        gradients = torch.autograd.grad(y.sum(), [p for _, p in named], allow_unused=True)
        idle -= {name for (name, _), gradient in zip(named, gradients, strict=True) if gradient is not None}
    return frozenset(idle)
