"""Gradient descent on linear models with all inputs at once, in numpy: squared loss beside its closed form, softmax."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.data.whitening import LEAST

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Descent:
    """Gradient descent on the squared loss with η = 1/hmax: the shape of the loss, and how it went."""

    eigenvalues: Array  # of the Hessian, falling
    excess: Array  # (epochs + 1,) measured, as a share of that at the start
    closed_form: Array  # the same by the formula
    epochs: int  # until ``reached``
    measured: bool  # or by the formula

    @property
    def condition(self) -> float:
        return float(self.eigenvalues[0] / self.eigenvalues[-1])


def descend(x: Array, targets: Array, epochs: int, reached: float) -> Descent:
    """Full-batch gradient descent from W = 0 for inputs ``(N, D)``, beside its closed form.

    The eigenvalues hᵢ are the squared singular values of (x, 1)/√N, those that are not 0; along its i-th left singular
    vector lies the part eᵢ = ½‖pᵢᵀt‖²/N of the excess loss.
    """
    n = len(x)
    design = np.column_stack((x, np.ones(n)))
    left, singular, _ = np.linalg.svd(design / np.sqrt(n), full_matrices=False)
    kept = singular**2 > LEAST * singular[0] ** 2
    eigenvalues = singular[kept] ** 2
    along = left[:, kept].T @ targets
    parts = (along**2).sum(1) / (2 * n)
    best = targets - left[:, kept] @ along  # the residuals that remain
    floor = float((best**2).sum() / (2 * n))
    rate = 1 / eigenvalues[0]
    weights = np.zeros((design.shape[1], targets.shape[1]))
    excess = np.empty(epochs + 1)
    for epoch in range(epochs + 1):
        residual = design @ weights - targets
        excess[epoch] = float((residual**2).sum() / (2 * n)) - floor
        weights -= rate * design.T @ residual / n
    closed = np.array([_excess(epoch, eigenvalues, parts) for epoch in range(epochs + 1)]) / parts.sum()
    excess = excess / parts.sum()
    found = np.flatnonzero(excess <= reached)
    measured = len(found) > 0
    count = int(found[0]) if measured else _epochs(eigenvalues, parts, reached)
    return Descent(eigenvalues, excess, closed, count, measured)


def _excess(epoch: int, eigenvalues: Array, parts: Array) -> float:
    """Σᵢ (1 − hᵢ/hmax)^2k · eᵢ."""
    return float((np.maximum(1 - eigenvalues / eigenvalues[0], 0) ** (2.0 * epoch)) @ parts)


def _epochs(eigenvalues: Array, parts: Array, reached: float) -> int:
    """The first epoch at which the closed form is there, by bisection: it never rises."""
    goal, high = reached * parts.sum(), 1
    while _excess(high, eigenvalues, parts) > goal:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _excess(middle, eigenvalues, parts) > goal else (low, middle)
    return high


def cross_entropy_epochs(
    x: Array, targets: Array, rates: Array, goal: float, horizon: int
) -> tuple[int | None, float]:
    """The fewest epochs to the loss ``goal``·ln(classes) over the rates; and that rate times hmax.

    Full-batch gradient descent on softmax regression from W = 0, all rates abreast: ``rates`` ``(J,)`` over hmax, the
    largest eigenvalue of the inputs' second moments. None where no rate is there within ``horizon`` epochs.
    """
    n, classes = targets.shape
    design = np.column_stack((x, np.ones(n))).astype(np.float32)
    largest = float(np.linalg.norm(design / np.sqrt(n), 2) ** 2)
    steps = (rates / largest).astype(np.float32)[:, None]
    weights = np.zeros((design.shape[1], len(rates), classes), np.float32)
    wanted = targets[:, None, :].astype(np.float32)
    with np.errstate(all="ignore"):  # the largest rates may diverge
        for epoch in range(horizon + 1):
            logits = (design @ weights.reshape(design.shape[1], -1)).reshape(n, len(rates), classes)
            logits -= logits.max(2, keepdims=True)
            odds = np.exp(logits)
            total = odds.sum(2, keepdims=True)
            loss = (np.log(total[..., 0]) - (logits * wanted).sum(2)).mean(0)
            if (loss <= goal * np.log(classes)).any():
                return epoch, float(rates[int(np.nanargmin(loss))])
            slope = (odds / total - wanted).reshape(n, -1)
            weights -= steps * (design.T @ slope / n).reshape(weights.shape)
    return None, float("nan")
