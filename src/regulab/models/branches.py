"""Where the residual branches of a network end, ours or a person's: what their sum with the shortcut is made of."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import Tensor, nn

LAYERS = (
    "DropPath",
    "StochasticDepth",
)  # classes of timm and torchvision, by name: neither need be installed
NAMES = re.compile(
    r"drop_path\d*|stochastic_depth"
)  # what they call the layer, and an Identity where its rate is 0
NUMBERED = re.compile(
    r"(conv|bn|norm)\d"
)  # the layers of a branch as torchvision's residual blocks call them
SIDE = 8  # pixels of the images that a block is tried on


def drop_paths(block: nn.Module) -> list[str]:
    """The names of the block's own layers that drop a branch, or would at a rate above 0."""
    return [
        name
        for name, layer in block.named_children()
        if type(layer).__name__ in LAYERS or (NAMES.fullmatch(name) and isinstance(layer, nn.Identity))
    ]


def branch_end(block: nn.Module) -> nn.Module | None:
    """The last layer of the branch, where the block gives the branch plus a shortcut of its input; else None.

    The layers of the branch are called conv1, bn1 (or norm1), conv2 …, as in torchvision's ``BasicBlock`` and
    ``Bottleneck``. What the forward pass does with them is tried out on a copy: with the last of them at 0, what the
    block gives has the shape of the branch and still depends on the input.
    """
    numbered = [name for name, _ in block.named_children() if NUMBERED.fullmatch(name)]
    first = getattr(block, "conv1", None)
    if len(numbered) < 2 or not isinstance(first, nn.Conv2d) or not hasattr(block, "conv2"):
        return None
    tried = copy.deepcopy(block).eval()
    order: list[str] = []
    with suppress(Exception):  # a person's block may want anything, and is none that we know then
        for name in numbered:
            tried.get_submodule(name).register_forward_hook(lambda *_, name=name: order.append(name))
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(2, first.in_channels, SIDE, SIDE, generator=generator).to(first.weight)
        with torch.no_grad():
            tried(x.clone())
            last, shapes = tried.get_submodule(order[-1]), list[torch.Size]()

            def zero(layer: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> Tensor:
                shapes.append(y.shape)
                return torch.zeros_like(y)

            last.register_forward_hook(zero)
            shortcut, other = tried(x.clone()), tried(x.flip(0) + 1)
        if shapes[0] == shortcut.shape and not torch.equal(shortcut, other.flip(0)):
            return block.get_submodule(order[-1])
    return None


def residual_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The blocks with a branch that can be dropped, each once, in the order of the network."""
    for block in module.modules():
        if drop_paths(block) or branch_end(block) is not None:
            yield block
