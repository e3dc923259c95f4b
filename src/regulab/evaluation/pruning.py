"""Makes a trained network smaller: cuts weights by magnitude, and removes filters that nothing depends on."""

from __future__ import annotations

import copy
import math
import zlib

import torch
from safetensors.torch import save
from torch import Tensor, nn

from regulab.models.layers.block import Block
from regulab.models.parameters import weight_names

CHANNELWISE = ("weight", "bias", "running_mean", "running_var")  # what a norm keeps for each channel


def magnitude_pruned(module: nn.Module, kept: float) -> nn.Module:
    """A copy in which only the largest weights, a fraction ``kept`` of them, are left; the others are 0.

    One threshold for the whole network, over the weights of convolutions and linear layers; biases and
    normalization stay. Of K weights, round(kept·K) stay: exactly so many if there are no ties at the threshold and as
    many non-zero ones. Source: Han, Pool, Tran & Dally 2015 (arXiv 1506.02626), without their retraining.
    """
    assert 0 <= kept <= 1, f"a fraction, got {kept}"
    pruned = copy.deepcopy(module)
    weights = [pruned.get_parameter(name) for name in sorted(weight_names(pruned))]
    sizes = torch.cat([w.detach().abs().flatten() for w in weights])
    count = round(kept * len(sizes))
    threshold = math.inf if count == 0 else float(sizes.topk(count).values[-1])
    with torch.no_grad():
        for w in weights:
            w.masked_fill_(w.abs() < threshold, 0)
    return pruned


def nonzero_weights(module: nn.Module) -> tuple[int, int]:
    """How many weights of convolutions and linear layers are not 0, and how many there are."""
    weights = [module.get_parameter(name) for name in weight_names(module)]
    return sum(int(w.count_nonzero()) for w in weights), sum(w.numel() for w in weights)


def without_dead_filters(module: nn.Module) -> nn.Module:
    """A copy without the filters that change no output, in inference mode; its outputs are the same.

    ``module`` is built of ``blocks`` (a sequence of `Block`) followed by a mean over the map and the linear layer
    ``classify``. A filter goes if its block's output is 0 whatever the input (all its weights are zero, and the norm's
    shift does not lift it over ReLU's kink), or if every weight that would read it is zero. That makes other filters
    dead in their turn, until none is left to remove. One filter of a block always stays. A filter whose output is
    another constant stays too: zero padding makes it look different at the border.
    """
    slim = copy.deepcopy(module).eval()
    blocks = [block for block in slim.get_submodule("blocks").children() if isinstance(block, Block)]
    reader = slim.get_submodule("classify")
    assert isinstance(reader, nn.Linear)
    removed = True
    while removed:
        removed = False
        for index, block in enumerate(blocks):
            following = reader if index + 1 == len(blocks) else blocks[index + 1].conv
            alive = _alive(block, following.weight)
            if not alive.all():
                _narrow(block, following, alive)
                removed = True
    return slim


def _alive(block: Block, read: Tensor) -> Tensor:
    """Which output channels of a block matter to weights ``read`` ``(K, C, …)``: bool ``(C,)``, at least one True."""
    weight = block.conv.weight
    silent = weight.flatten(1).abs().sum(1) == 0
    with torch.no_grad():
        nothing = torch.zeros(1, weight.shape[1], 4, 4, dtype=weight.dtype)
        constant = block(nothing)[0].flatten(1).abs().sum(1)
    unread = read.transpose(0, 1).flatten(1).abs().sum(1) == 0
    alive: Tensor = ~((silent & (constant == 0)) | unread)
    if not alive.any():
        alive[0] = True
    return alive


def _narrow(block: Block, following: nn.Conv2d | nn.Linear, alive: Tensor) -> None:
    """Takes the channels that are not ``alive`` out of a block and of the layer that reads it, in place."""
    block.conv.weight = nn.Parameter(block.conv.weight[alive].detach())
    block.conv.out_channels = int(alive.sum())
    if block.conv.bias is not None:
        block.conv.bias = nn.Parameter(block.conv.bias[alive].detach())
    for name in CHANNELWISE:
        kept = getattr(block.norm, name, None)
        if isinstance(kept, nn.Parameter):
            setattr(block.norm, name, nn.Parameter(kept[alive].detach()))
        elif isinstance(kept, Tensor):
            setattr(block.norm, name, kept[alive])
    following.weight = nn.Parameter(following.weight[:, alive].detach())
    if isinstance(following, nn.Conv2d):
        following.in_channels = int(alive.sum())
    else:
        following.in_features = int(alive.sum())


def multiply_accumulates(module: nn.Module, image: Tensor) -> int:
    """Multiplications of convolutions (without groups) and linear layers for one ``image`` ``(1, C, H, W)``.

    Multiplications with zeros count, since a dense kernel does them.
    """
    counts: list[int] = []

    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        weight = layer.get_parameter("weight")
        counts.append(weight.numel() * (output[0].numel() // weight.shape[0]))

    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    handles = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        module(image)
    for handle in handles:
        handle.remove()
    return sum(counts)


def file_sizes(module: nn.Module) -> tuple[int, int]:
    """Bytes of the network as safetensors, and of the same file compressed with zlib at its highest level."""
    content = save({name: tensor.contiguous() for name, tensor in module.state_dict().items()})
    return len(content), len(zlib.compress(content, 9))
