"""Experiments on weight decay: a layer of sigmoid units, torch's optimizers, and weights before a normalization."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Make = Callable[[list[Tensor], float], torch.optim.Optimizer]  # (parameters, weight_decay) → optimizer


@dataclass(frozen=True)
class SigmoidUnits:
    """o = σ(Wx) with E = mean over the n examples of ½Σₖ(tₖ − oₖ)², plus (λ/2)Σw².

    ``x`` ``(n, J)``, ``targets`` ``(n, K)``; weights W have shape ``(K, J)``.
    """

    x: Tensor
    targets: Tensor

    def error(self, w: Tensor, strength: float) -> Tensor:
        plain = 0.5 * (self.targets - torch.sigmoid(self.x @ w.T)).square().sum(1).mean()
        return plain + strength / 2 * w.square().sum()

    def lecture_terms(self, w: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        """The lecture's two brackets ``(K, J)``: xⱼ·(oₖ − tₖ)·oₖ·(1 − oₖ), averaged over the examples, and λ·wⱼₖ."""
        o = torch.sigmoid(self.x @ w.T)
        return ((o - self.targets) * o * (1 - o)).T @ self.x / len(self.x), strength * w

    def gradients(self, w: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        """The gradients of plain error and penalty by automatic differentiation."""
        w = w.detach().requires_grad_()
        (plain,) = torch.autograd.grad(self.error(w, 0.0), w)
        (penalty,) = torch.autograd.grad(strength / 2 * w.square().sum(), w)
        return plain, penalty


def follow(w: Tensor, step: Callable[[Tensor], Tensor], steps: int) -> list[Tensor]:
    """w, w + step(w), … : ``steps`` + 1 tensors."""
    path = [w]
    for _ in range(steps):
        path.append(path[-1] + step(path[-1]))
    return path


def train_with(
    make: Make, x: Tensor, labels: Tensor, steps: int, *, strength: float, lr: float = 0.0, how: str
) -> list[Tensor]:
    """Softmax regression from one random start, full batch: the weights ``(K, J)`` after every step.

    ``how``: λ as a ``penalty`` (λ/2)‖w‖² in the loss, as the ``argument`` weight_decay of the optimizer, or
    ``decoupled``: w ← (1 − ηλ)w before each step at rate η = ``lr``.
    """
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(int(labels.max()) + 1, x.shape[1], dtype=x.dtype, generator=generator)
    w = (w / x.shape[1] ** 0.5).requires_grad_()
    optimizer = make([w], strength if how == "argument" else 0.0)
    path = [w.detach().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ w.T, labels)
        if how == "penalty":
            loss = loss + strength / 2 * w.square().sum()
        torch.autograd.backward(loss)
        if how == "decoupled":
            with torch.no_grad():
                w *= 1 - lr * strength
        optimizer.step()
        path.append(w.detach().clone())
    return path


def distances(path: list[Tensor], other: list[Tensor]) -> list[float]:
    """‖w − w′‖/‖w′‖ at every step."""
    return [float((a - b).norm() / b.norm()) for a, b in zip(path, other, strict=True)]


def lecture_snippet(model: nn.Module) -> str:
    """What the lecture's L1 snippet does as it stands: the error that it raises, or an empty text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            l1_crit = nn.L1Loss(size_average=False)
            reg_loss = 0
            for param in model.parameters():
                reg_loss += l1_crit(param)
    except TypeError as error:
        return f"TypeError: {error}"
    return ""


def deprecation() -> str:
    """What torch says of ``size_average=False``."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        nn.L1Loss(size_average=False)
    return "; ".join(str(warning.message) for warning in caught) or "nothing"


def repaired_snippet(model: nn.Module, factor: float) -> Tensor:
    """λ₁·Σ|w| over all parameters by `nn.L1Loss`: with a target of zeros and a sum."""
    l1_crit = nn.L1Loss(reduction="sum")
    reg_loss = torch.zeros((), dtype=next(model.parameters()).dtype)
    for param in model.parameters():
        reg_loss = reg_loss + l1_crit(param, torch.zeros_like(param))
    return factor * reg_loss


@dataclass(frozen=True)
class Invariance:
    """Weights before a norm in training mode, times c: what changes. All relative."""

    output_change: float  # largest change of an output over the largest output
    gradient_change: float  # ‖c·g(c·w) − g(w)‖/‖g(w)‖
    cosine: float  # largest |cosine| between a layer's weights and its gradient


def invariance(module: nn.Module, names: list[str], x: Tensor, labels: Tensor, c: float) -> Invariance:
    """Multiplies the parameters called ``names`` by ``c``; ``module`` must be in training mode without dropout."""
    plain = dict(module.named_parameters())
    output, gradients = _outputs_and_gradients(module, plain, names, x, labels)
    scaled = {name: p * c if name in names else p for name, p in plain.items()}
    other, others = _outputs_and_gradients(module, scaled, names, x, labels)
    whole, back = (torch.cat([g.flatten() for g in gs]) for gs in (gradients, others))
    cosines = [
        F.cosine_similarity(plain[name].detach().flatten(), g.flatten(), 0).abs()
        for name, g in zip(names, gradients, strict=True)
    ]
    return Invariance(
        output_change=float((other - output).abs().max() / output.abs().max()),
        gradient_change=float((c * back - whole).norm() / whole.norm()),
        cosine=float(torch.stack(cosines).max()),
    )


def _outputs_and_gradients(
    module: nn.Module, parameters: Mapping[str, Tensor], names: list[str], x: Tensor, labels: Tensor
) -> tuple[Tensor, list[Tensor]]:
    leaves = {name: p.detach().clone().requires_grad_(name in names) for name, p in parameters.items()}
    buffers = {name: b.clone() for name, b in module.named_buffers()}
    output = torch.func.functional_call(module, {**leaves, **buffers}, (x,))
    gradients = torch.autograd.grad(F.cross_entropy(output, labels), [leaves[name] for name in names])
    return output.detach(), list(gradients)


def normalized_net(w: Tensor, v: Tensor, x: Tensor) -> Tensor:
    """v·ReLU(norm(W·x)), W ``(H, J)``, v ``(K, H)``; the norm gives each unit mean 0 and variance 1."""
    h = x @ w.T
    h = (h - h.mean(0)) / h.var(0, unbiased=False).sqrt()
    return F.relu(h) @ v.T


def losses_before_norm(
    x: Tensor, labels: Tensor, steps: int, *, lr: float, strength: float, growing: bool
) -> list[float]:
    """Full-batch losses of `normalized_net` under plain SGD, step by step, from one random start.

    W decays with ``strength`` λ; or, ``growing``, does not, while its learning rate grows: η/α^(2t+1) with α = 1 − ηλ,
    at step t = 0, 1, … The second layer has the rate η in both.
    """
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(32, x.shape[1], dtype=x.dtype, generator=generator) / x.shape[1] ** 0.5
    v = torch.randn(int(labels.max()) + 1, 32, dtype=x.dtype, generator=generator) / 32**0.5
    alpha, losses = 1 - lr * strength, []
    for t in range(steps):
        w, v = w.detach().requires_grad_(), v.detach().requires_grad_()
        loss = F.cross_entropy(normalized_net(w, v, x), labels)
        to_w, to_v = torch.autograd.grad(loss, (w, v))
        w = w - lr / alpha ** (2 * t + 1) * to_w if growing else alpha * w - lr * to_w
        v = v - lr * to_v
        losses.append(float(loss.detach()))
    return losses
