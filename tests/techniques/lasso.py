"""Linear regression with penalties, descended by a study's own optimizers: its exact minimizers are known."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from regulab.techniques import stack
from regulab.techniques.technique import Depths, Parameter
from regulab.training.proximal import dual_step, proximal_step


def regression():
    """60 observations of 9 correlated inputs, of which 4 matter; centred, scales unequal."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 9)) @ (np.eye(9) + 0.1 * rng.normal(size=(9, 9)))
    y = x @ np.array([2.0, -1.0, 0, 0, 0.7, 0, 0, 0, -0.4]) + 0.3 * rng.normal(size=60)
    return x - x.mean(0), y - y.mean()


def descend(x, y, optimizer, arms, steps=4000, feedback=True):
    """Minimizes 1/(2n)·‖y − Xw‖² plus each run's penalties from a start off the origin: w ``(R, 1, p)``."""
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    hooks = stack(arms).values()
    w = torch.full((len(arms), 1, x.shape[1]), 0.5, dtype=torch.float64)
    state = tuple(torch.zeros_like(w) for _ in optimizer.state_names)
    depths: Depths = (torch.zeros_like(w), torch.zeros_like(w))
    for t in range(1, steps + 1):
        rate = optimizer.lr * min(1.0, 2.5 * (1 - t / (steps + 1)) ** 2)
        gradient = ((w @ x.T - y) @ x) / len(y)
        for hook in hooks:
            extra = hook.gradient(Parameter("w", w, True)) if hook.gradient else None
            gradient = gradient if extra is None else gradient + extra
        w, state, sensitivity = optimizer.step(w, gradient, state, rate, t)
        for hook in hooks:
            if hook.proximal:
                operator = partial(_shrunk, hook.proximal)
                shrunk, remembered = proximal_step(optimizer, w, state, sensitivity, operator)
                w, state = shrunk, (remembered if feedback else state)
            if hook.dual:
                dual = partial(_shrunk_by_depths, hook.dual)
                w, state, depths = dual_step(optimizer, w, state, sensitivity, dual, depths)
    return w[:, 0].numpy()


def _shrunk(proximal: Callable[[Parameter, Tensor], Tensor], z: Tensor, step: Tensor) -> Tensor:
    return proximal(Parameter("w", z, True), step)


def _shrunk_by_depths(
    dual: Callable[[Parameter, Tensor, Depths], tuple[Tensor, Depths]],
    z: Tensor,
    step: Tensor,
    depths: Depths,
) -> tuple[Tensor, Depths]:
    return dual(Parameter("w", z, True), step, depths)
