"""Weight decay: its gradient term by term, when it is the L2 penalty, the L1 snippet, and weights before batch norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Measured, Number, Values
from regulab.lessons.penalties.weight_decay.before_norm import (
    DECAYS,
    SEEDS,
    TRAINING_RATE,
    before_norm,
    effective_rates,
    losses_with_decay_and_growing_rate,
    relative,
    train,
)
from regulab.lessons.penalties.weight_decay.weight_decay_experiments import (
    Make,
    SigmoidUnits,
    deprecation,
    distances,
    follow,
    lecture_snippet,
    repaired_snippet,
    train_with,
)
from regulab.techniques.l1 import L1
from regulab.techniques.technique import Parameter


@dataclass(frozen=True)
class DecayCurves:
    """What the figures show: by step, by optimizer, by λ."""

    keys: Mapping[str, str]  # of the numbers, by optimizer
    decays: Sequence[float]
    norms: Mapping[str, list[float]]  # ‖w‖ of the sigmoid units by rule
    errors: Mapping[str, list[float]]  # E by the sign of the step
    argument: Mapping[str, list[float]]  # distance from the penalty's weights, by optimizer
    decoupled: Mapping[str, list[float]]
    weight_norms: NDArray[np.float64]  # (λ, S, epochs + 1), of the weights before norms
    rates: NDArray[np.float64]  # the same: effective learning rate
    losses: Mapping[str, list[float]]  # decay against a growing rate


STRENGTH = 0.01  # λ wherever one is enough
UNIT_RATE, UNIT_STEPS = 0.1, 2000  # η of the sigmoid units
IMAGES, OPTIMIZER_STEPS = 256, 200
SGD_RATE, ADAM_RATE = 0.1, 1e-3
FACTOR = 0.0005  # the lecture's, of its L1 snippet
SAME = 1e-9  # relative, float64, over hundreds of steps
OPTIMIZERS: Mapping[str, tuple[Make, float]] = {
    "SGD": (lambda p, decay: torch.optim.SGD(p, lr=SGD_RATE, weight_decay=decay), SGD_RATE),
    "SGD, momentum 0.9": (
        lambda p, decay: torch.optim.SGD(p, lr=SGD_RATE, momentum=0.9, weight_decay=decay),
        SGD_RATE,
    ),
    "Adam": (lambda p, decay: torch.optim.Adam(p, lr=ADAM_RATE, weight_decay=decay), ADAM_RATE),
}
KEYS = dict(zip(OPTIMIZERS, ("sgd", "momentum", "adam"), strict=True))


def measure(laboratory: Laboratory) -> Measured:
    fleet = laboratory.fleet(
        {
            "name": "weight-decay",
            "model": {"name": "cnn10k", "dropout": 0},
            "data": {"train_images": None if laboratory.embedded else 1000},
            "train": {
                "epochs": 12 if laboratory.embedded else 6,
                "batch_size": 32,
                "optimizer": {"name": "sgd", "lr": TRAINING_RATE, "momentum": 0.9},
                "schedule": {"name": "constant"},
            },
            "seeds": SEEDS,
            "arms": {f"λ={decay:g}": {"l2": decay} for decay in DECAYS},
        }
    )
    images, labels = fleet.images("train", IMAGES)
    images = images.double()
    flat = images.flatten(1)
    x = 4 * flat / flat.square().sum(1).mean().sqrt()  # curvature of the sigmoid units of order 1
    unit_numbers, norms, errors = _sigmoid_units(SigmoidUnits(x, F.one_hot(labels).double()))
    argument, decoupled, adamw = _optimizers(x, labels)
    losses = losses_with_decay_and_growing_rate(x, labels)
    weight_norms, rates = train(fleet)
    net = fleet.module(0).double()
    numbers = {**unit_numbers, **_snippet(net)}
    for name, key in KEYS.items():
        numbers[f"argument_{key}"] = _distance(
            argument[name][-1], f"{name}: weight_decay against the penalty"
        )
    numbers["adamw"] = _distance(adamw[-1], "AdamW: weight_decay against the penalty under Adam")
    for name, key in KEYS.items():
        what = f"{name}: decoupled decay against the penalty"
        numbers[f"decoupled_{key}"] = _distance(decoupled[name][-1], what)
    numbers |= before_norm(net, images[:128], labels[:128])
    numbers |= effective_rates(weight_norms, rates, losses)
    values = {key: number.value for key, number in numbers.items()}
    return Measured(
        numbers=numbers,
        evidence=DecayCurves(KEYS, DECAYS, norms, errors, argument, decoupled, weight_norms, rates, losses),
        conditions=(
            f"{IMAGES} training images of {laboratory.dataset}, λ = {STRENGTH:g}, float64. Sigmoid units:"
            f" η = {UNIT_RATE:g}. Optimizers: softmax regression, {OPTIMIZER_STEPS} full-batch steps, η ="
            f" {SGD_RATE:g} (SGD) and {ADAM_RATE:g} (Adam). Norms and effective rates: cnn10k,"
            f" {fleet.study.train.epochs} epochs of {len(fleet.setup.images):,} images, SGD with η ="
            f" {TRAINING_RATE:g} and momentum 0.9, {SEEDS} seeds."
        ),
        findings=_findings(values),
    )


def _sigmoid_units(
    units: SigmoidUnits,
) -> tuple[dict[str, Number], dict[str, list[float]], dict[str, list[float]]]:
    start = (
        torch.randn(
            units.targets.shape[1],
            units.x.shape[1],
            dtype=torch.float64,
            generator=torch.Generator().manual_seed(0),
        )
        / units.x.shape[1] ** 0.5
    )
    terms, gradients = units.lecture_terms(start, STRENGTH), units.gradients(start, STRENGTH)
    plain, decay = (float((t - g).abs().max() / g.abs().max()) for t, g in zip(terms, gradients, strict=True))

    def literal(w: Tensor) -> Tensor:
        data, penalty = units.lecture_terms(w, STRENGTH)
        return -(UNIT_RATE * data + penalty)

    def gradient(strength: float) -> Any:
        return lambda w: -UNIT_RATE * sum(units.lecture_terms(w, strength))

    paths = {
        "η[data] + [λw], as bracketed": follow(start, literal, UNIT_STEPS),
        "η([data] + [λw]), the gradient": follow(start, gradient(STRENGTH), UNIT_STEPS),
        "the gradient with λ/η for λ": follow(start, gradient(STRENGTH / UNIT_RATE), UNIT_STEPS),
    }
    rest = paths["η[data] + [λw], as bracketed"][-1]
    added = follow(start, lambda w: -gradient(STRENGTH)(w), 200)
    subtracted = follow(start, gradient(STRENGTH), 200)
    errors = {
        "w − Δw": [float(units.error(w, STRENGTH)) for w in subtracted],
        "w + Δw": [float(units.error(w, STRENGTH)) for w in added],
    }
    at_rest = [float(sum(units.lecture_terms(rest, s)).norm()) for s in (STRENGTH, STRENGTH / UNIT_RATE)]  # type: ignore[union-attr]
    numbers = {
        "plain_term": relative(plain, "first bracket against automatic differentiation, largest difference"),
        "decay_term": relative(decay, "second bracket against automatic differentiation, largest difference"),
        "start_error": Number(value=errors["w − Δw"][0], label="E at the start", digits=4),
        "subtracted_error": Number(value=errors["w − Δw"][1], label="E after one step w − Δw", digits=4),
        "added_error": Number(value=errors["w + Δw"][1], label="E after one step w + Δw", digits=4),
        "literal_gradient": Number(
            value=at_rest[0], label="‖gradient of E‖ where the rule as bracketed comes to rest"
        ),
        "literal_other_gradient": Number(value=at_rest[1], label="the same for E with the strength λ/η"),
        "literal_norm": Number(value=float(rest.norm()), label="‖w‖ there"),
        "minimum_norm": Number(value=_minimum_norm(units, start), label="‖w‖ at the minimum of E (L-BFGS)"),
    }
    return numbers, {rule: [float(w.norm()) for w in path] for rule, path in paths.items()}, errors


def _minimum_norm(units: SigmoidUnits, start: Tensor) -> float:
    def value(flat: NDArray[np.floating[Any]]) -> tuple[float, NDArray[np.floating[Any]]]:
        w = torch.from_numpy(flat).view_as(start)
        slope = torch.stack(units.lecture_terms(w, STRENGTH)).sum(0)
        return float(units.error(w, STRENGTH)), slope.flatten().numpy()

    minimum = minimize(value, start.flatten().numpy(), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    return float(np.linalg.norm(minimum.x))


def _optimizers(
    x: Tensor, labels: Tensor
) -> tuple[dict[str, list[float]], dict[str, list[float]], list[float]]:
    """Distances from the weights that the penalty gives: of weight_decay, of decoupled decay, and of AdamW."""
    argument, decoupled = {}, {}
    for name, (make, lr) in OPTIMIZERS.items():
        penalty, by_argument, beside = (
            train_with(make, x, labels, OPTIMIZER_STEPS, strength=STRENGTH, lr=lr, how=how)
            for how in ("penalty", "argument", "decoupled")
        )
        argument[name], decoupled[name] = distances(by_argument, penalty), distances(beside, penalty)

    def adamw(p: list[Tensor], decay: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(p, lr=ADAM_RATE, weight_decay=decay)

    path = train_with(adamw, x, labels, OPTIMIZER_STEPS, strength=STRENGTH, how="argument")
    return argument, decoupled, distances(path, penalty)


def _snippet(net: nn.Module) -> dict[str, Number]:
    error = lecture_snippet(net)
    value = repaired_snippet(net, FACTOR)
    gradients = torch.autograd.grad(value, list(net.parameters()))
    hooks = L1(strength=FACTOR, include="all", method="subgradient").stack(
        [L1(strength=FACTOR, include="all", method="subgradient")]
    )
    assert hooks.penalty is not None
    assert hooks.gradient is not None
    ours, worst, direct = 0.0, 0.0, 0.0
    for (name, p), gradient in zip(net.named_parameters(), gradients, strict=True):
        stacked = Parameter(name, p.detach()[None], p.ndim >= 2)
        penalty, slope = hooks.penalty(stacked), hooks.gradient(stacked)
        assert penalty is not None
        assert slope is not None
        ours += float(penalty)
        direct += FACTOR * float(p.detach().abs().sum())
        worst = max(worst, float((slope[0] - gradient).abs().max()) / FACTOR)
    return {
        "snippet_error": Number(value=error or "none", label="the L1 snippet as it stands raises"),
        "snippet_warning": Number(value=deprecation(), label="torch warns of size_average=False"),
        "snippet_value": Number(value=value.item(), label=f"repaired snippet, λ₁ = {FACTOR:g}", digits=6),
        "snippet_difference": relative(abs(value.item() / direct - 1), "the same against λ₁·Σ|w|"),
        "technique_difference": relative(
            abs(value.item() / ours - 1), "the same against regulab's l1 with include: all"
        ),
        "technique_gradient": relative(worst, "largest difference of their gradients, over λ₁"),
    }


def _distance(value: float, label: str) -> Number:
    return Number(value=value, label=f"{label}, ‖Δw‖/‖w‖ after {OPTIMIZER_STEPS} steps")


def _findings(v: Values) -> str:
    argument = "the penalty under Adam, too" if v["argument_adam"] < SAME else "not the penalty under Adam"
    beside = "is the penalty" if v["decoupled_sgd"] < SAME else "is not the penalty even"
    snippet = "raises an error" if v["snippet_error"] != "none" else "runs"
    return (
        f"The two brackets equal the gradient to {max(v['plain_term'], v['decay_term']):.1g}; subtracting"
        f" them takes E from {v['start_error']:.4g} to {v['subtracted_error']:.4g}, adding them to"
        f" {v['added_error']:.4g}. After {OPTIMIZER_STEPS} steps torch's `weight_decay` is {argument}"
        f" (difference {v['argument_adam']:.1g}). Decay *beside* the step {beside} for plain SGD (difference"
        f" {v['decoupled_sgd']:.1g}); with momentum the difference is {v['decoupled_momentum']:.1g}, for"
        f" AdamW {v['adamw']:.1g}. The L1 snippet {snippet} as it stands; with a target of zeros and a"
        f" sum it is λ₁·Σ|w| to {v['snippet_difference']:.1g}. Before batch norm, weights ten times as"
        f" large change the outputs by {v['output_change']:.1g}, and an effective learning rate of"
        f" {v[f'rate_{DECAYS[0]:g}']:.2g} without decay became {v[f'rate_{DECAYS[-1]:g}']:.2g} with λ ="
        f" {DECAYS[-1]:g}."
    )
