"""Weight decay: its gradient term by term, when it is the L2 penalty, the L1 snippet, and weights before batch norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from regulab.lessons.decay_figures import Evidence, draw
from regulab.lessons.decaying import (
    Make,
    SigmoidUnits,
    deprecation,
    distances,
    follow,
    invariance,
    lecture_snippet,
    losses_before_norm,
    repaired_snippet,
    train_with,
)
from regulab.lessons.laboratory import Aboard, Laboratory
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, Number, Values, graded
from regulab.techniques.l1 import L1
from regulab.techniques.technique import Parameter

STRENGTH = 0.01  # λ wherever one is enough
UNIT_RATE, UNIT_STEPS = 0.1, 2000  # η of the sigmoid units
IMAGES, OPTIMIZER_STEPS = 256, 200
SGD_RATE, ADAM_RATE = 0.1, 1e-3
FACTOR = 0.0005  # the lecture's, of its L1 snippet
SCALE = 10.0  # c
DECAYS = (0.0, 1e-3, 1e-2)
SEEDS, TRAINING_RATE = 3, 0.05
SAME = 1e-9  # relative, float64, over hundreds of steps
EXACT = 1e-10
REST = 1e-6  # norm of a gradient that counts as zero
INVARIANT = 1e-3  # what ε in the norm's denominator may leave
TEXT = r"""
**The gradient.** A layer of sigmoid units $o_k = \sigma(\sum_j w_{jk} x_j)$ with targets $t_k$ has the error, and
by $\sigma' = \sigma(1-\sigma)$ the gradient,

$$E = \frac12\sum_k (t_k - o_k)^2 + \frac{\lambda}{2}\sum w^2, \qquad
\frac{\partial E}{\partial w_{jk}} = x_j\,(o_k - t_k)\,o_k(1 - o_k) + \lambda w_{jk} .$$

Differentiating $(t_k - o_k)^2$ gives $-(t_k - o_k) = o_k - t_k$: that is where the sign of $(o_k - t_k)$ comes
from. The gradient points uphill, so descent **subtracts** it: $w \leftarrow w - \eta\,\partial E/\partial w$. The
lecture calls $\eta\,[\dots] + [\lambda w]$ a $\Delta w$; with $(o_k - t_k)$ in it, it must be subtracted from $w$,
or written with a minus.

**The brackets.** As bracketed there, $\eta$ multiplies the first term only. That rule shrinks $w$ by $\lambda$
instead of $\eta\lambda$ a step, and rests where $\eta g(w) + \lambda w = 0$: at a minimum of the error with the
strength $\lambda/\eta$, not $\lambda$. Changing the learning rate then changes what is minimized.

**Decay and penalty.** The penalty adds $\lambda w$ to the gradient. Decay in the old sense (Hanson & Pratt 1988)
shrinks the weights beside the step. For plain SGD that is the same thing:

$$w - \eta\,(g + \lambda w) = (1 - \eta\lambda)\,w - \eta\,g .$$

With momentum $\mu$ the penalty's part goes through the velocity, where it adds up to $1/(1-\mu)$ times as much;
Adam divides it, like all of the gradient, by $\sqrt{\hat v}$: weights with large gradients are then hardly shrunk.
So there the two differ. In torch, the argument `weight_decay` of `SGD` and of `Adam` is the *penalty*; that of
`AdamW` is the decoupled *decay*.

**The L1 snippet.** `nn.L1Loss` compares an input with a target; a penalty is that with a target of zeros, summed:

$$\lambda_1 \sum \lvert w\rvert = \lambda_1 \sum \lvert w - 0\rvert, \qquad
\frac{\partial}{\partial w}\,\lambda_1 \lvert w\rvert = \lambda_1\,\mathrm{sign}(w) .$$

**Before batch norm.** A norm divides the scale out: $f(cw) = f(w)$ for $c > 0$. Differentiating with respect to
$w$ and to $c$,

$$\nabla f(cw) = \frac1c\,\nabla f(w), \qquad w^\top \nabla f(w) = 0 .$$

Only the direction $w/\lVert w\rVert$ matters, and it turns by about $\eta\,\lVert\nabla f\rVert/\lVert w\rVert
\propto \eta/\lVert w\rVert^2$: the **effective learning rate**. A step at right angles to $w$ can only lengthen
it; decay shortens it, so decay raises that rate. Substituting $w_t = \alpha^t u_t$ with $\alpha = 1 - \eta\lambda$
into SGD with decay gives SGD *without* decay at a growing rate,

$$w_{t+1} = \alpha\,w_t - \eta\,\nabla f(w_t) \quad\Longleftrightarrow\quad
u_{t+1} = u_t - \frac{\eta}{\alpha^{2t+1}}\,\nabla f(u_t), \qquad f(w_t) = f(u_t) .$$
"""

OPTIMIZERS: Mapping[str, tuple[Make, float]] = {
    "SGD": (lambda p, decay: torch.optim.SGD(p, lr=SGD_RATE, weight_decay=decay), SGD_RATE),
    "SGD, momentum 0.9": (
        lambda p, decay: torch.optim.SGD(p, lr=SGD_RATE, momentum=0.9, weight_decay=decay),
        SGD_RATE,
    ),
    "Adam": (lambda p, decay: torch.optim.Adam(p, lr=ADAM_RATE, weight_decay=decay), ADAM_RATE),
}
KEYS = dict(zip(OPTIMIZERS, ("sgd", "momentum", "adam"), strict=True))


def _measure(laboratory: Laboratory) -> Measured:
    aboard = laboratory.aboard(
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
    images, labels = aboard.images("train", IMAGES)
    images = images.double()
    flat = images.flatten(1)
    x = 4 * flat / flat.square().sum(1).mean().sqrt()  # curvature of the sigmoid units of order 1
    unit_numbers, norms, errors = _sigmoid_units(SigmoidUnits(x, F.one_hot(labels).double()))
    argument, decoupled, adamw = _optimizers(x, labels)
    losses = _losses(x, labels)
    weight_norms, rates = _train(aboard)
    net = aboard.module(0).double()
    numbers = {**unit_numbers, **_snippet(net)}
    for name, key in KEYS.items():
        numbers[f"argument_{key}"] = _distance(
            argument[name][-1], f"{name}: weight_decay against the penalty"
        )
    numbers["adamw"] = _distance(adamw[-1], "AdamW: weight_decay against the penalty under Adam")
    for name, key in KEYS.items():
        what = f"{name}: decoupled decay against the penalty"
        numbers[f"decoupled_{key}"] = _distance(decoupled[name][-1], what)
    numbers |= _before_norm(net, images[:128], labels[:128])
    numbers |= _effective(weight_norms, rates, losses)
    values = {key: number.value for key, number in numbers.items()}
    return Measured(
        numbers=numbers,
        evidence=Evidence(KEYS, DECAYS, norms, errors, argument, decoupled, weight_norms, rates, losses),
        conditions=(
            f"{IMAGES} training images of {laboratory.dataset}, λ = {STRENGTH:g}, float64. Sigmoid units:"
            f" η = {UNIT_RATE:g}. Optimizers: softmax regression, {OPTIMIZER_STEPS} full-batch steps, η ="
            f" {SGD_RATE:g} (SGD) and {ADAM_RATE:g} (Adam). Norms and effective rates: cnn10k,"
            f" {aboard.study.train.epochs} epochs of {len(aboard.setup.images):,} images, SGD with η ="
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
        "plain_term": _relative(plain, "first bracket against automatic differentiation, largest difference"),
        "decay_term": _relative(
            decay, "second bracket against automatic differentiation, largest difference"
        ),
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

    found = minimize(value, start.flatten().numpy(), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    return float(np.linalg.norm(found.x))


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
        "snippet_difference": _relative(abs(value.item() / direct - 1), "the same against λ₁·Σ|w|"),
        "technique_difference": _relative(
            abs(value.item() / ours - 1), "the same against regulab's l1 with include: all"
        ),
        "technique_gradient": _relative(worst, "largest difference of their gradients, over λ₁"),
    }


def _before_norm(net: nn.Module, x: Tensor, labels: Tensor) -> dict[str, Number]:
    found = invariance(net.train(), _scale_invariant(net), x, labels, SCALE)
    return {
        "output_change": _relative(
            found.output_change, f"outputs changed by weights × {SCALE:g} before batch norm"
        ),
        "gradient_change": _relative(
            found.gradient_change, f"gradient there × {SCALE:g} against the gradient before, difference"
        ),
        "cosine": Number(
            value=found.cosine, label="largest |cosine| between a layer's weights and its gradient"
        ),
    }


def _scale_invariant(net: nn.Module) -> list[str]:
    """cnn10k's convolutions: each has a norm behind it."""
    return [f"{path}.weight" for path, layer in net.named_modules() if isinstance(layer, nn.Conv2d)]


def _train(aboard: Aboard) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """‖w‖ over all convolutions, and η/‖w‖² averaged over them, by λ, seed and epoch: ``(λ, S, epochs + 1)``."""
    names = _scale_invariant(aboard.module(0))
    squares = []
    for epoch in range(aboard.study.train.epochs + 1):
        if epoch:
            aboard.trainer.train_epoch(epoch)
        weights = aboard.trainer.weights()
        squares.append(
            torch.stack([weights[n].detach().double().flatten(1).square().sum(1) for n in names]).cpu()
        )
    table = torch.stack(squares, -1)  # (layers, R, epochs + 1), runs seed-major
    by_arm = table.unflatten(1, (SEEDS, len(DECAYS))).transpose(1, 2)
    return by_arm.sum(0).sqrt().numpy(), (TRAINING_RATE / by_arm).mean(0).numpy()


def _losses(x: Tensor, labels: Tensor) -> dict[str, list[float]]:
    lr, strength, steps = 0.5, 0.02, 150
    return {
        "decay": losses_before_norm(x, labels, steps, lr=lr, strength=strength, growing=False),
        "growing rate": losses_before_norm(x, labels, steps, lr=lr, strength=strength, growing=True),
        "neither": losses_before_norm(x, labels, steps, lr=lr, strength=0.0, growing=False),
    }


def _effective(
    weight_norms: NDArray[np.float64], rates: NDArray[np.float64], losses: Mapping[str, list[float]]
) -> dict[str, Number]:
    numbers = {
        "rate_start": Number(
            value=float(rates[:, :, 0].mean()), label="effective learning rate η/‖w‖² at the start"
        )
    }
    for decay, norms, effective in zip(DECAYS, weight_norms, rates, strict=True):
        after = f"after training with λ = {decay:g}"
        numbers[f"norm_{decay:g}"] = Number(
            value=float(norms[:, -1].mean()), label=f"‖w‖ before norms {after}, mean over seeds"
        )
        numbers[f"rate_{decay:g}"] = Number(
            value=float(effective[:, -1].mean()), label=f"effective learning rate η/‖w‖² {after}"
        )
    rising = (np.diff(rates[:, :, -1], axis=0) > 0).all(0)
    decayed, growing, neither = (np.array(losses[k]) for k in ("decay", "growing rate", "neither"))
    numbers["rising"] = Number(
        value=100 * float(rising.mean()),
        label="seeds in which a larger λ ends with a larger effective rate",
        unit="%",
    )
    numbers["replaced"] = _relative(
        float(np.abs(decayed / growing - 1).max()),
        "losses with decay against a growing rate, largest difference",
    )
    numbers["unreplaced"] = _relative(
        float(np.abs(decayed / neither - 1).max()), "losses with decay against neither, largest difference"
    )
    return numbers


def _relative(value: float, label: str) -> Number:
    return Number(value=value, label=f"{label} (relative)")


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


def _gradient(v: Values) -> Answer:
    return graded(v["plain_term"] < EXACT and v["decay_term"] < EXACT)


def _sign(v: Values) -> Answer:
    return graded(v["added_error"] < v["start_error"], in_part=bool(v["subtracted_error"] < v["start_error"]))


def _bracketed(v: Values) -> Answer:
    return graded(v["literal_gradient"] < REST, in_part=v["literal_other_gradient"] < REST)


def _argument(v: Values) -> Answer:
    sgd = v["argument_sgd"] < SAME and v["argument_momentum"] < SAME
    return graded(sgd and v["argument_adam"] < SAME and v["adamw"] < SAME, in_part=sgd)


def _decoupled(v: Values) -> Answer:
    everywhere = all(v[f"decoupled_{key}"] < SAME for key in KEYS.values())
    return graded(everywhere, in_part=v["decoupled_sgd"] < SAME)


def _snippet_answer(v: Values) -> Answer:
    worst = max(v["snippet_difference"], v["technique_difference"], v["technique_gradient"])
    return graded(worst < EXACT and v["snippet_error"] == "none", in_part=worst < EXACT)


def _rate(v: Values) -> Answer:
    invariant = max(v["output_change"], v["gradient_change"], v["cosine"]) < INVARIANT
    return graded(invariant and v["rising"] == 100 and v["replaced"] < REST, in_part=invariant)


LESSON = Lesson(
    name="weight-decay",
    order=160,
    title="Weight decay: its gradient, its optimizers, and weights before batch norm",
    claims=[
        Claim(
            statement="The lecture's two brackets are the gradient of E, squared error and weight penalty.",
            rule=f"holds if each equals automatic differentiation to {EXACT:g}; else it does not",
            judge=_gradient,
        ),
        Claim(
            statement="The lecture's Δw is what a descent adds to w.",
            rule="holds if w + Δw lowers E; in part if w − Δw does; else it does not",
            judge=_sign,
        ),
        Claim(
            statement="With its brackets as written, η on the first one only, the lecture's rule minimizes E.",
            rule=(
                f"holds if the gradient of E is below {REST:g} where the rule comes to rest; in part if"
                " that of E with λ/η in the place of λ is; else it does not"
            ),
            judge=_bracketed,
        ),
        Claim(
            statement="torch's weight_decay is the penalty (λ/2)‖w‖².",
            rule=(
                f"holds if it gives the penalty's weights to {SAME:g} for SGD, SGD with momentum, Adam and"
                " AdamW; in part if for SGD with and without momentum; else it does not"
            ),
            judge=_argument,
        ),
        Claim(
            statement="Shrinking the weights by (1 − ηλ) beside each step is the same as the penalty.",
            rule=(
                f"holds if the weights agree to {SAME:g} for SGD, SGD with momentum and Adam; in part if"
                " for plain SGD; else it does not"
            ),
            judge=_decoupled,
        ),
        Claim(
            statement="The lecture's L1Loss snippet computes λ₁·Σ|w|.",
            rule=(
                f"holds if it runs as it stands and agrees to {EXACT:g} with λ₁·Σ|w| and with regulab's"
                " l1, in value and gradient; in part if it does so once repaired; else it does not"
            ),
            judge=_snippet_answer,
        ),
        Claim(
            statement="Before batch norm, decay does not limit the outputs but raises the effective learning rate.",
            rule=(
                f"holds if weights × {SCALE:g} change outputs and rescaled gradients by less than"
                f" {INVARIANT:g}, weights and gradient have a cosine below {INVARIANT:g}, a larger λ ends"
                " with a larger η/‖w‖² in every seed, and a growing rate gives the losses of decay to"
                f" {REST:g}; in part if only the first two; else it does not"
            ),
            judge=_rate,
        ),
    ],
    text=TEXT,
    sources=[
        "van Laarhoven 2017, [arXiv 1706.05350](https://arxiv.org/abs/1706.05350)",
        "Loshchilov & Hutter 2019, decoupled weight decay, [arXiv"
        " 1711.05101](https://arxiv.org/abs/1711.05101)",
        "Li & Arora 2020, decay as a growing learning rate, [arXiv"
        " 1910.07454](https://arxiv.org/abs/1910.07454)",
        "Krogh & Hertz 1992, [A simple weight decay can improve"
        " generalization](https://proceedings.neurips.cc/paper/1991/hash/8eefcfdf5990e441f0fb6f3fad709e21-Abstract.html)",
        "Hanson & Pratt 1988, [Comparing biases for minimal network construction with"
        " back-propagation](https://proceedings.neurips.cc/paper/1988/hash/1c9ac0159c94d8d0cbedc973445af2da-Abstract.html)",
    ],
    measure=_measure,
    draw=draw,
)
