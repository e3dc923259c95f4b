"""Batch normalization, step by step on a real mini-batch; its γ and β; the bias that it subtracts out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from regulab.lessons.laboratory import Laboratory
from regulab.lessons.lesson import Answer, Claim, Lesson, Measured, Number, Picture, Table, Values, graded
from regulab.models.norms.batch import BatchNorm
from regulab.reporting.theme import Theme

BATCH = 128
MEAN, VARIANCE = 1e-5, 0.01  # how far from 0 and 1 still counts as 0 and 1: float32, and ε beside σ²
CHANGE, GRADIENT = 1e-6, 1e-6  # what float64 may leave of an equality, generously
TEXT = r"""
For a mini-batch $\mathcal B = \{x_1 \dots x_m\}$ of one channel, batch normalization computes

$$\mu = \frac{1}{m}\sum_{i=1}^{m} x_i, \qquad \sigma^2 = \frac{1}{m}\sum_{i=1}^{m} (x_i - \mu)^2, \qquad
\hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad y_i = \gamma\,\hat x_i + \beta .$$

After a convolution $m = B \cdot H \cdot W$: a channel is normalized over all images and all places, since the same
kernel made them all. So there is **one $\gamma$ and one $\beta$ for each channel**: their number depends on the
channels of the layer, and neither on the batch nor on the size of the map (see the table).

The variance of $\hat x$ is not exactly 1 but $\sigma^2/(\sigma^2 + \epsilon)$: with $\epsilon = 10^{-5}$ that shows
only where a channel hardly varies.

A bias $b$ before the norm moves $x_i$ and $\mu$ alike: $(x_i + b) - (\mu + b) = x_i - \mu$. The output does not
change, so the gradient with respect to $b$ is zero, and $\beta$ takes over what the bias was for. The networks here
have no bias there; this lesson adds one to measure it.
"""


@dataclass(frozen=True)
class Evidence:
    """Values of one channel at each step, flattened; and what a bias changes."""

    steps: Sequence[tuple[str, NDArray[np.float32]]]
    channel: int


def bias_before_norm(conv: nn.Conv2d, norm: nn.Module, x: Tensor, labels: Tensor) -> tuple[float, float]:
    """What a bias between a convolution and a norm in training mode does.

    Returns the largest change of the output under a random bias, over the output's largest value; and the norm of
    the gradient with respect to that bias over the norm of the gradient with respect to the convolution's
    weights, for a cross-entropy of the pooled output ``(B, C)`` with ``labels`` below C.
    """
    bias = torch.linspace(-3, 3, conv.out_channels, dtype=x.dtype).requires_grad_()
    plain = F.conv2d(x, conv.weight, None, conv.stride, conv.padding)
    without = norm(plain).detach()
    output = norm(plain + bias[:, None, None])
    change = float((output - without).detach().abs().max() / without.abs().max())
    loss = F.cross_entropy(F.relu(output).mean((2, 3)), labels % conv.out_channels)
    weight_gradient, bias_gradient = torch.autograd.grad(loss, (conv.weight, bias))
    return change, float(bias_gradient.norm() / weight_gradient.norm())


def _measure(laboratory: Laboratory) -> Measured:
    trial = laboratory.train(
        {
            "name": "batch-norm",
            "model": {"name": "cnn10k", "dropout": 0},
            "train": {"epochs": 2, "batch_size": BATCH},
            "data": {"train_images": None if laboratory.embedded else 5000},
            "seeds": 1,
            "arms": {"batch norm": {}},
        }
    )
    module = trial.module("batch norm", 0)
    x, labels = trial.images("train", BATCH)
    block = module.get_submodule("blocks.0")
    conv, norm = block.get_submodule("conv"), block.get_submodule("norm")
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, BatchNorm)
    with torch.no_grad():
        steps = _steps(conv(x), norm)
    channel = int(steps[0][1].mean((0, 2, 3)).abs().argmax())
    exact = copy.deepcopy(block).double().train()
    change, gradient = bias_before_norm(exact.conv, exact.norm, x.double(), labels)  # type: ignore[arg-type]
    normalized = steps[2][1]
    mean = float(normalized.mean((0, 2, 3)).abs().max())
    variance = float((normalized.var((0, 2, 3), unbiased=False) - 1).abs().max())
    norms = [layer for layer in module.modules() if isinstance(layer, BatchNorm)]
    gammas, betas = (
        sum(p.numel() for p in ps) for ps in zip(*((n.weight, n.bias) for n in norms), strict=True)
    )
    channels = sum(c.out_channels for c in module.modules() if isinstance(c, nn.Conv2d))
    numbers = {
        "mean": Number(value=mean, label="largest |mean| of a channel of x̂"),
        "variance": Number(value=variance, label="largest |variance − 1| of a channel of x̂"),
        "output_change": Number(
            value=change, label="output changed by a bias before the norm, over the largest output"
        ),
        "bias_gradient": Number(
            value=gradient, label="gradient of that bias over the gradient of the weights"
        ),
        "gammas": Number(value=gammas, label="γ in the network"),
        "betas": Number(value=betas, label="β in the network"),
        "channels": Number(value=channels, label="channels before its norms"),
    }
    return Measured(
        numbers=numbers,
        evidence=Evidence([(label, _flat(values, channel)) for label, values in steps], channel),
        findings=(
            "After the mean is taken off and the deviation divided out, every channel of x̂ has a mean within"
            f" {mean:.1g} of 0 and a variance within {variance:.1g} of 1; γ and β then move channel {channel} to"
            f" wherever the next layer wants it. {channels} channels stand before norms, so there are {gammas} γ and"
            f" {betas} β. A bias of up to ±3 before the norm changed the output by {change:.1g} of its largest value,"
            " which is rounding."
        ),
        conditions=(
            f"One mini-batch of {BATCH} images of {laboratory.dataset}, the first block of cnn10k after two epochs"
            f" of training, ε = {norm.eps:g}; the figure shows channel {channel}. The steps in float32, the bias in"
            " float64."
        ),
        tables=[_steps_table(steps, channel), _layers_table(module, x)],
    )


def _steps(x: Tensor, norm: BatchNorm) -> list[tuple[str, Tensor]]:
    """Algorithm 1, line by line: each intermediate ``(B, C, H, W)`` with its name."""
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = (x - mean).square().mean((0, 2, 3), keepdim=True)
    normalized = (x - mean) / (variance + norm.eps).sqrt()
    scaled = norm.weight.view(1, -1, 1, 1) * normalized + norm.bias.view(1, -1, 1, 1)
    return [("x", x), ("x − μ", x - mean), ("x̂", normalized), ("y = γx̂ + β", scaled)]


def _flat(x: Tensor, channel: int) -> NDArray[np.float32]:
    values: NDArray[np.float32] = x[:, channel].flatten().numpy()
    return values


def _steps_table(steps: Sequence[tuple[str, Tensor]], channel: int) -> Table:
    rows = []
    for label, values in steps:
        one = values[:, channel]
        first = ", ".join(f"{v:.3f}" for v in one.flatten()[:4].tolist())
        spread = one.var(unbiased=False).item()
        rows.append([label, first, f"{one.mean().item():.6f}", f"{spread:.6f}"])
    title = (
        f"Algorithm 1 on channel {channel}: the first four values of the batch, and mean and variance of all"
    )
    return Table(title=title, columns=["step", "first values", "mean", "variance"], rows=rows)


def _layers_table(module: nn.Module, x: Tensor) -> Table:
    shapes: dict[str, torch.Size] = {}
    norms = {name: layer for name, layer in module.named_modules() if isinstance(layer, BatchNorm)}
    handles = [
        layer.register_forward_hook(
            lambda _layer, inputs, _output, name=name: shapes.update({name: inputs[0].shape})
        )
        for name, layer in norms.items()
    ]
    with torch.no_grad():
        module.eval()(x)
    for handle in handles:
        handle.remove()
    rows = [
        [
            name,
            f"{c} × {h} × {w}",
            f"{b * h * w:,}",
            str(norms[name].weight.numel()),
            str(norms[name].bias.numel()),
        ]
        for name, (b, c, h, w) in shapes.items()
    ]
    return Table(
        title="How many γ and β: one of each for every channel",
        columns=["layer", "C × H × W", "values per channel, m", "γ", "β"],
        rows=rows,
    )


def _draw(measured: Measured, theme: Theme) -> list[Picture]:
    evidence: Evidence = measured.evidence
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    places = figure.subplots(1, len(evidence.steps))
    for index, (axes, (label, values)) in enumerate(zip(places, evidence.steps, strict=True)):
        axes.hist(values, bins=80, color=theme.colours[index], density=True)
        axes.axvline(values.mean(), color=theme.ink, linewidth=1.2)
        axes.set_title(label)
        axes.set_yticks([])
        axes.set_xlabel(f"mean {values.mean():.2f}, deviation {values.std():.2f}")
    figure.suptitle(f"One channel through batch normalization ({values.size:,} values)")
    steps = "; ".join(f"{label}: mean {v.mean():.2f}, deviation {v.std():.2f}" for label, v in evidence.steps)
    return [
        Picture(
            name="steps",
            figure=figure,
            caption="One channel over a mini-batch after each line of Algorithm 1; the vertical line marks the mean.",
            alternative=f"Four histograms of one channel. {steps}.",
        )
    ]


def _normalized(values: Values) -> bool:
    return bool(values["mean"] < MEAN and values["variance"] < VARIANCE)


def _cancelled(values: Values) -> Answer:
    unchanged = values["output_change"] < CHANGE
    return graded(unchanged and values["bias_gradient"] < GRADIENT, in_part=unchanged)


LESSON = Lesson(
    name="batch-norm",
    order=60,
    title="Batch normalization, step by step",
    claims=[
        Claim(
            statement="Batch normalization makes the mean of every channel 0 and its variance 1, before γ and β.",
            rule=(
                f"holds if every channel's mean is within {MEAN:g} of 0 and its variance within {VARIANCE:g} of 1;"
                " else it does not"
            ),
            judge=lambda values: graded(_normalized(values)),
        ),
        Claim(
            statement="There is one γ and one β per channel.",
            rule="holds if the network has as many γ, and as many β, as channels before its norms; else it does not",
            judge=lambda values: graded(values["gammas"] == values["betas"] == values["channels"]),
        ),
        Claim(
            statement="A bias before batch normalization is subtracted out.",
            rule=(
                f"holds if a bias changes the output by less than {CHANGE:g} of its largest value and the bias's"
                f" gradient is below {GRADIENT:g} of the weights'; in part if only the output stays; else it does not"
            ),
            judge=_cancelled,
        ),
    ],
    text=TEXT,
    sources=["Ioffe & Szegedy 2015, [arXiv 1502.03167](https://arxiv.org/abs/1502.03167), Algorithm 1"],
    measure=_measure,
    draw=_draw,
)
