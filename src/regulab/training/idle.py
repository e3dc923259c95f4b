"""Parameters that take no part: an unused head, a leftover bias. Training leaves them alone, and the report names
them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regulab.models.generators import keyed_generators
from regulab.training.watching import STREAMS, bound, generator_states, same_states

MOST_PASSES = 64  # of a network that draws


def idle_parameters(module: nn.Module, x: Tensor) -> frozenset[str]:
    """Names of the parameters that could be trained but get no gradient.

    Looked for in training mode on a batch ``(B, C, H, W)``. A network that draws may leave out other layers each time:
    it passes until all have taken part, or `MOST_PASSES` times. What torch's optimizers do with idle parameters is
    nothing, so no penalty touches them either, and no norm counts them. ``module`` is not to be used any more.
    """
    idle = {name: p for name, p in module.named_parameters() if p.requires_grad}
    module.train()
    with bound(module) as draws:
        for step in range(1, MOST_PASSES + 1):
            draws.begin(step)
            with keyed_generators(STREAMS, "idle parameters", epoch=step, device=x.device):
                before = generator_states(x.device)
                y = module(x.clone(memory_format=torch.contiguous_format))
                moved = not same_states(before, generator_states(x.device))
            if y.requires_grad and idle:
                gradients = torch.autograd.grad(y.sum(), list(idle.values()), allow_unused=True)
                idle = {name: p for (name, p), g in zip(idle.items(), gradients, strict=True) if g is None}
            if not moved or not idle:
                break
    return frozenset(idle)
