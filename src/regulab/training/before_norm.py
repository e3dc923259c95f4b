"""Weights before a norm: how long they are changes nothing of what the network computes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regulab.models.generators import keyed_generators
from regulab.models.parameters import weight_names
from regulab.training.watching import STREAMS, bound

TIMES = 4.0  # longer than they are
SHARE = 0.05  # of what a step in a random direction changes: ε in a norm leaves under 1 %, a weight without norm 50 %


def weights_before_norm(module: nn.Module, x: Tensor) -> frozenset[str]:
    """Names of the weights that may be four times as long and the outputs stay, in training mode on ``(B, C, H, W)``.

    A bias of the same layer is made as much longer, since the norm sees their sum. Measured, so that it holds for any
    network and norm: against a step of the weight's own length in a random direction, which changes outputs wherever
    the weight takes part. ``module`` is not to be used any more.
    """
    module.train()
    found, generator = set(), torch.Generator().manual_seed(1)
    biases = {
        name.rpartition(".")[0]: p
        for name, p in module.named_parameters()
        if name.rpartition(".")[2] == "bias"
    }
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    with torch.no_grad(), bound(module) as draws:

        def outputs() -> Tensor:
            draws.begin(1)
            with keyed_generators(STREAMS, "before a norm", device=x.device):
                y: Tensor = module(x.clone(memory_format=torch.contiguous_format))
            for buffer, value in kept:
                buffer.copy_(value)
            return y

        before = outputs()
        for name in sorted(weight_names(module)):
            weight, bias = module.get_parameter(name), biases.get(name.rpartition(".")[0])
            own, shift = weight.clone(), None if bias is None else bias.clone()
            noise = torch.randn(own.shape, generator=generator).to(own)
            weight.copy_(own + own.square().mean().sqrt() * noise)
            elsewhere = float((outputs() - before).norm())
            weight.copy_(TIMES * own)
            if bias is not None and shift is not None:
                bias.copy_(TIMES * shift)
            longer = float((outputs() - before).norm())
            weight.copy_(own)
            if bias is not None and shift is not None:
                bias.copy_(shift)
            if longer < SHARE * elsewhere:
                found.add(name)
    return frozenset(found)
