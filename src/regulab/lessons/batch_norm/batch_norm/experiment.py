"""Batch normalization, step by step on a real mini-batch; its γ and β; the bias that it subtracts out."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Measured, Number, Table
from regulab.models.norms.batch import BatchNorm

BATCH = 128
CHANGE, GRADIENT = 1e-6, 1e-6  # what float64 may leave of an equality, generously
CASES = {  # (B, C, H, W)
    "a convolution": (128, 16, 8, 8),
    "a smaller batch": (32, 16, 8, 8),
    "a larger map": (128, 16, 28, 28),
    "more channels": (128, 40, 8, 8),
    "fully connected, 100 units": (128, 100, 1, 1),
}


@dataclass(frozen=True)
class Bias:
    """What a bias before a norm, or before none, does: outputs without and with it, flattened; gradients' norms."""

    without: NDArray[np.float64]
    output: NDArray[np.float64]
    weight_gradient: float
    bias_gradient: float

    @property
    def change(self) -> float:
        """The largest change of the output, over the output's largest value."""
        return float(np.abs(self.output - self.without).max() / np.abs(self.without).max())

    @property
    def ratio(self) -> float:
        """The norm of the bias's gradient over that of the weights'."""
        return self.bias_gradient / self.weight_gradient


@dataclass(frozen=True)
class StepsAndBiases:
    """Values of one channel at each step, flattened; and what a bias changes, with the norm and without."""

    steps: Sequence[tuple[str, NDArray[np.float32]]]
    channel: int
    biases: Mapping[str, Bias]


def fixed(value: float, digits: int) -> str:
    """``value`` with so many decimals, a true minus sign, and no minus before a zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def bias_before_norm(conv: nn.Conv2d, norm: nn.Module, x: Tensor, labels: Tensor) -> Bias:
    """What a bias from −3 to 3 between a convolution and a norm in training mode does to output and gradients.

    The loss is a cross-entropy of the pooled output ``(B, C)`` with ``labels``, taken modulo C.
    """
    bias = torch.linspace(-3, 3, conv.out_channels, dtype=x.dtype).requires_grad_()
    plain = F.conv2d(x, conv.weight, None, conv.stride, conv.padding)
    without = norm(plain).detach()
    output = norm(plain + bias[:, None, None])
    loss = F.cross_entropy(F.relu(output).mean((2, 3)), labels % conv.out_channels)
    weight_gradient, bias_gradient = torch.autograd.grad(loss, (conv.weight, bias))
    return Bias(
        without.flatten().numpy(),
        output.detach().flatten().numpy(),
        float(weight_gradient.norm()),
        float(bias_gradient.norm()),
    )


def measure(laboratory: Laboratory) -> Measured:
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
        steps = _steps(block.get_submodule("pool")(conv(x)), norm)
    channel = int(steps[0][1].mean((0, 2, 3)).abs().argmax())
    exact = copy.deepcopy(block).double().train()
    biases = {
        name: bias_before_norm(exact.conv, after, x.double(), labels)  # type: ignore[arg-type]
        for name, after in (("batch norm", exact.norm), ("no norm", nn.Identity()))
    }
    cases = {name: _count(*shape) for name, shape in CASES.items()}
    numbers = _numbers(steps[2][1], biases, _counts(module, cases))
    return Measured(
        numbers=numbers,
        evidence=StepsAndBiases(
            [(label, _flat(values, channel)) for label, values in steps], channel, biases
        ),
        findings=_findings(numbers, channel, biases),
        conditions=(
            f"One mini-batch of {BATCH} images of {laboratory.dataset}, the first block of cnn10k after two epochs"
            f" of training, ε = {norm.eps:g}; the figure shows channel"
            f" {channel}, after the pooling that stands before the norm. The steps in float32, the bias in"
            " float64."
        ),
        tables=[_steps_table(steps, channel), _layers_table(module, x), _cases_table(cases)],
    )


def _numbers(
    normalized: Tensor, biases: Mapping[str, Bias], counts: Mapping[str, Number]
) -> dict[str, Number]:
    """Of x̂ ``(B, C, H, W)``: how far its channels are from mean 0 and variance 1; and what a bias does."""
    mean = float(normalized.mean((0, 2, 3)).abs().max())
    variance = float((normalized.var((0, 2, 3), unbiased=False) - 1).abs().max())
    return {
        "mean": Number(value=mean, label="largest |mean| of a channel of x̂"),
        "variance": Number(value=variance, label="largest |variance − 1| of a channel of x̂"),
        "output_change": Number(
            value=biases["batch norm"].change,
            label="output changed by a bias before the norm, over the largest output",
        ),
        "bias_gradient": Number(
            value=biases["batch norm"].ratio, label="gradient of that bias over the gradient of the weights"
        ),
        **counts,
        "bias_gradient_plain": Number(
            value=biases["no norm"].ratio,
            label="gradient of a bias over that of the weights without the norm",
        ),
    }


def _findings(numbers: Mapping[str, Number], channel: int, biases: Mapping[str, Bias]) -> str:
    mean, variance = numbers["mean"].value, numbers["variance"].value
    change = biases["batch norm"].change
    return (
        "After the mean is taken off and the deviation divided out, every channel of x̂ has a mean within"
        f" {mean:.1g} of 0 and a variance within {variance:.1g} of 1; γ and β then move channel {channel} to"
        f" wherever the next layer wants it. {numbers['channels'].text()} channels stand before norms, so there are"
        f" {numbers['gammas'].text()} γ and {numbers['betas'].text()} β. A bias of up to ±3 before the norm changed"
        f" the output by {change:.1g} of its largest value"
        f"{', which is rounding' if change < CHANGE else ''}, and without a norm by"
        f" {biases['no norm'].change:.1g} of it: in the second figure, dots on the diagonal are values that did not"
        " change."
    )


def _counts(module: nn.Module, cases: Mapping[str, tuple[int, int]]) -> dict[str, Number]:
    """How many γ and β the network has, and how many of the other cases have one of each per channel."""
    norms = [layer for layer in module.modules() if isinstance(layer, BatchNorm)]
    channels = sum(c.out_channels for c in module.modules() if isinstance(c, nn.Conv2d))
    matching = sum(gamma == beta == CASES[name][1] for name, (gamma, beta) in cases.items())
    return {
        "gammas": Number(value=sum(norm.weight.numel() for norm in norms), label="γ in the network"),
        "betas": Number(value=sum(norm.bias.numel() for norm in norms), label="β in the network"),
        "channels": Number(value=channels, label="channels before its norms"),
        "matching": Number(value=matching, label="layers of the last table with one γ and one β per channel"),
        "cases": Number(value=len(CASES), label="layers of that table"),
    }


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
        of_channel = values[:, channel]
        first = ", ".join(fixed(v, 3) for v in of_channel.flatten()[:4].tolist())
        spread = of_channel.var(unbiased=False).item()
        rows.append([label, first, fixed(of_channel.mean().item(), 6), fixed(spread, 6)])
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


def _count(b: int, c: int, h: int, w: int) -> tuple[int, int]:
    """How many γ and β normalize a ``(b, c, h, w)``, by a layer that is made and used."""
    norm = BatchNorm(c)
    assert norm(torch.linspace(-1, 1, b * c * h * w).view(b, c, h, w)).shape == (b, c, h, w)
    return norm.weight.numel(), norm.bias.numel()


def _cases_table(cases: Mapping[str, tuple[int, int]]) -> Table:
    rows = []
    for name, (gamma, beta) in cases.items():
        b, c, h, w = CASES[name]
        rows.append([name, str(b), str(c), f"{h} × {w}", f"{b * h * w:,}", str(gamma), str(beta)])
    return Table(
        title="What the number of γ and β depends on",
        columns=["norm after", "batch", "channels", "map", "values per channel, m", "γ", "β"],
        rows=rows,
    )
