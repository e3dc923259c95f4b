"""Trains many small regression networks at once, each with its own techniques, for lessons about penalties."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from regulab.optimizers.adam import Adam
from regulab.techniques import stack
from regulab.techniques.technique import Parameter, Technique
from regulab.training.proximal import proximal_step

Networks = dict[str, Tensor]  # w1 (R, n, H), b1 (R, 1, H), w2 (R, H, 1), b2 (R, 1, 1)


def outputs(networks: Networks, x: Tensor) -> Tensor:
    """``(R, m, n)`` to ``(R, m)``: w2ᵀ·tanh(w1ᵀx + b1) + b2, each network on its own inputs."""
    hidden = torch.tanh(torch.baddbmm(networks["b1"], x, networks["w1"]))
    return torch.baddbmm(networks["b2"], hidden, networks["w2"])[..., 0]


def initial_networks(seeds: Sequence[int], inputs: int, hidden: int) -> Networks:
    """One network a seed: weights normal with variance 1/fan_in, biases zero. Equal seeds, equal weights."""
    drawn = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        first = torch.randn(inputs, hidden, generator=generator) / math.sqrt(inputs)
        drawn.append((first, torch.randn(hidden, 1, generator=generator) / math.sqrt(hidden)))
    w1, w2 = (torch.stack(list(weights)) for weights in zip(*drawn, strict=True))
    return {
        "w1": w1,
        "b1": torch.zeros(len(seeds), 1, hidden),
        "w2": w2,
        "b2": torch.zeros(len(seeds), 1, 1),
    }


def train(
    networks: Networks, x: Tensor, y: Tensor, arms: Sequence[Sequence[Technique]], steps: int, lr: float
) -> Networks:
    """Minimizes ½·mean (output − y)² plus each network's penalties, on all of its data at every step.

    ``x`` is ``(R, m, n)``, ``y`` ``(R, m)``, ``arms`` the techniques of each of the R networks. Adam with a rate that
    falls from ``lr`` to 0 along half a cosine; penalties act as in any study: L1 by its proximal step.
    """
    optimizer, hooks = Adam(lr=lr), stack([tuple(arm) for arm in arms]).values()
    networks = dict(networks)
    states = {name: (torch.zeros_like(w),) * len(optimizer.state_names) for name, w in networks.items()}
    for t in range(1, steps + 1):
        rate = lr / 2 * (1 + math.cos(math.pi * t / (steps + 1)))
        gradients = _gradients(networks, lambda now: (outputs(now, x) - y).square().mean(1).sum() / 2)
        for name, w in networks.items():
            parameter = Parameter(name, w, name.startswith("w"))
            gradient = gradients[name]
            for hook in hooks:
                extra = hook.gradient(parameter) if hook.gradient else None
                gradient = gradient if extra is None else gradient + extra
            w, kept, sensitivity = optimizer.step(w, gradient, states[name], rate, t)
            for hook in hooks:
                if hook.proximal:
                    operator = partial(_removed, hook.proximal, parameter)
                    w, kept = proximal_step(optimizer, w, kept, sensitivity, operator)
            networks[name], states[name] = w, kept
    return networks


def _removed(
    operator: Callable[[Parameter, Tensor], Tensor | None], parameter: Parameter, z: Tensor, step: Tensor
) -> Tensor | None:
    return operator(replace(parameter, value=z), step)


def _gradients(networks: Networks, loss: Callable[[Networks], Tensor]) -> Networks:
    leaves = {name: w.detach().requires_grad_() for name, w in networks.items()}
    return dict(zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values())), strict=True))
