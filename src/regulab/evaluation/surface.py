"""The loss around trained weights, along random directions that are as long as the weights, filter by filter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from regulab.models.parameters import weight_names

Direction = Mapping[str, Tensor]  # by name of the parameter, each of its shape


def filter_normalized_direction(
    module: nn.Module, generator: Callable[[str], np.random.Generator]
) -> dict[str, Tensor]:
    """A random direction dᵢ ← dᵢ/‖dᵢ‖·‖wᵢ‖ for every filter wᵢ of the weights of convolutions and linear layers.

    A filter is what makes one output: a slice along the first axis, ``(C, kh, kw)`` of a convolution, a row of a linear
    layer. d is drawn from the standard normal distribution, by ``generator(name)`` of the parameter's name: networks
    whose parameters share a name and shape get the same draw, each scaled to its own filters. Biases and the
    parameters of normalization get 0.

    So a step means the same relative change in every network, whatever the scale of its weights: without it, a
    network with small weights would look sharp and one with large weights flat, though a norm behind them makes
    both the same function. Source: Li et al. 2018 (arXiv 1712.09913), section 4.
    """
    weights = weight_names(module)
    direction = {}
    for name, p in module.named_parameters():
        w = p.detach()
        if name not in weights:
            direction[name] = torch.zeros_like(w)
            continue
        d = torch.from_numpy(generator(name).standard_normal(tuple(w.shape))).to(w.dtype)
        lengths, wanted = (t.flatten(1).norm(dim=1) for t in (d, w))
        direction[name] = d * (wanted / lengths).view(-1, *[1] * (w.ndim - 1))
    return direction


def losses_along(
    module: nn.Module,
    directions: Sequence[Direction],
    steps: NDArray[np.float64],
    x: Tensor,
    labels: Tensor,
    *,
    batch_statistics: bool = False,
) -> NDArray[np.float64]:
    """Mean cross-entropy (nats) at θ + Σ_k steps[p, k]·directions[k], for each of P points: ``(P,)``.

    ``steps`` has shape ``(P, K)``; ``x`` ``(N, C, H, W)``, normalized; ``labels`` ``(N,)``. Inference mode, so that
    batch normalization keeps the running averages of training; with ``batch_statistics`` training mode, so that it
    takes the mean and variance of ``x`` (dropout, if there is any, then drops). The module's parameters, buffers and
    mode are left as they were.
    """
    mode = module.training
    module.train(batch_statistics)
    found = []
    with torch.no_grad():
        for point in steps:
            moved: dict[str, Tensor] = {name: b.clone() for name, b in module.named_buffers()}
            for name, p in module.named_parameters():
                moved[name] = p + sum(float(s) * d[name] for s, d in zip(point, directions, strict=True))
            logits = torch.func.functional_call(module, moved, (x,))
            found.append(float(F.cross_entropy(logits, labels)))
    module.train(mode)
    return np.array(found)
