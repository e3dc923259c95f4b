"""What a technique does inside a network: to maps, of digits, or to the weights that a layer multiplies with."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from regulab.cli.pictures.canvas import Block, Paper, shaded
from regulab.cli.pictures.images import digits

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from regulab.techniques.technique import Edit, Technique

NETWORKS = ("cnn10k", "resnet20")  # that are soon built
SEED = 30  # with which the second of four draws is among the lowest eighth, the others in the upper half
OUTPUTS, INPUTS = 8, 10  # of a layer, whose weights are shown


def of_rates(example: Technique, paper: Paper) -> list[Block]:
    """The maps that dropout at the technique's rate leaves."""
    from regulab.models.layers.dropout import ElementDropout

    rates = type(example).stack([example]).rates
    return [] if rates is None or rates[0] is None else _through(ElementDropout(rates[0]), paper)


def of_edit(example: Edit, paper: Paper) -> list[Block]:
    """Maps as the last new layer that draws leaves them, or the weights of a layer that uses others than it has."""
    from regulab.models.layers.draws import RandomLayer

    for network in _networks():
        before = copy.deepcopy(network)
        changed = example.edit(network)
        if changed is None:
            continue
        kinds = {type(layer) for layer in before.modules()}
        drawing = {name: one for name, one in changed.named_modules() if isinstance(one, RandomLayer)}
        new = [
            one for name, one in drawing.items() if type(one) not in kinds and not _in_a_layer(changed, name)
        ]
        return _through(new[-1], paper) if new else _weights(before, changed, paper)
    return []


def _networks() -> Iterator[nn.Module]:
    import torch

    from regulab.config import Model
    from regulab.models import build
    from regulab.streams import Streams

    x = torch.zeros(2, 1, 16, 16)
    for name in NETWORKS:
        yield build(Model(name=name, dropout=0.1), 1, 10, Streams("picture", SEED), x)


def _bind(module: nn.Module) -> None:
    """Lets its layers draw the same every time."""
    import torch

    from regulab.models.layers.draws import bind_layers

    generator = torch.Generator().manual_seed(SEED)

    def draw(name: str, shape: torch.Size) -> Tensor:
        return torch.randint(-(2**15), 2**15, tuple(shape), generator=generator, dtype=torch.int16)

    bind_layers(module, draw)


def _in_a_layer(network: nn.Module, name: str) -> bool:
    """Whether a layer belongs to one with weights, which it changes, instead of standing between such."""
    from torch import nn

    parent = network.get_submodule(name.rpartition(".")[0])
    return isinstance(parent, nn.Linear | nn.modules.conv._ConvNd)


def _through(layer: nn.Module, paper: Paper) -> list[Block]:
    """Two images of two channels in training: what is dropped is 0, and what is kept is scaled."""
    import torch

    _bind(layer)
    x = (0.25 + 0.5 * digits()).view(2, 2, 8, 8)  # nowhere 0, so that what is dropped shows
    with torch.no_grad():
        y: Tensor = layer.train()(x)
    names = [f"image {image}, channel {channel}" for image in (1, 2) for channel in (1, 2)]
    maps = y.reshape(4, 8, 8).double().numpy()
    scaled = np.where(maps == 0, np.nan, maps)
    return [[name, *shaded(paper, one)] for name, one in zip(names, scaled, strict=True)]


def _weights(before: nn.Module, after: nn.Module, paper: Paper) -> list[Block]:
    """Of the first layer whose outputs come of other weights now: those before, and those in training."""
    _bind(after)
    layers = dict(after.named_modules())
    for name, layer in before.named_modules():
        old, new = _used(layer), _used(layers[name]) if name in layers else None
        if old is None or new is None or bool((old - new).abs().max() < 1e-6):
            continue
        most = max(float(old.abs().max()), float(new.abs().max()))
        tables = {"|w| of a layer, an output a row": old, "|w| as it is used": new}
        sizes = {title: (w.abs() / most).numpy() for title, w in tables.items()}
        return [
            [title, *shaded(paper, np.where(size == 0, np.nan, size.clip(0.13)))]
            for title, size in sizes.items()
        ]
    return []


def _used(layer: nn.Module) -> Tensor | None:
    """The weights ``(outputs, inputs)`` that a linear layer or convolution multiplies with in training: its answers to
    inputs of a single 1, without its answer to zeros. None of other layers, and of those that are smaller."""
    import torch
    from torch import nn

    if isinstance(layer, nn.Linear):
        shape: tuple[int, ...] = (layer.in_features,)
    elif isinstance(layer, nn.Conv2d) and layer.stride == (1, 1) and layer.groups == 1:
        shape = (layer.in_channels, *layer.kernel_size)
    else:
        return None
    inputs = int(np.prod(shape))
    if inputs < INPUTS:
        return None
    x = torch.cat((torch.eye(inputs)[:INPUTS], torch.zeros(1, inputs))).view(-1, *shape)
    with torch.no_grad():
        y = copy.deepcopy(layer).train()(x)
    y = y if y.ndim == 2 else y[:, :, y.shape[2] // 2, y.shape[3] // 2]
    found: Tensor = (y[:-1] - y[-1]).T[:OUTPUTS].double()
    return found if len(found) == OUTPUTS else None


def pictured(example: Technique, paper: Paper) -> list[Block]:
    """Blocks for what it does inside a network."""
    from regulab.techniques.technique import Edit

    return of_edit(example, paper) if isinstance(example, Edit) else of_rates(example, paper)
