"""Makes the smaller network: layers of torch's own with the rows and columns that stay, in a graph of their own."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from regulab.evaluation.compaction.atoms import Channels
from regulab.evaluation.compaction.channels import Followed, Reader
from regulab.evaluation.compaction.liveness import Kept, Mask, edged
from regulab.evaluation.compaction.naming import place_of

PER_CHANNEL = ("weight", "bias", "running_mean", "running_var", "tau")


def smaller_network(kept: Kept) -> fx.GraphModule:
    """The network without the channels that go, in float64 where the graph is; its layers have flat names."""
    followed = kept.followed
    root, graph = nn.Module(), fx.Graph()
    readers = {reader.node: reader for reader in followed.readers}
    made: dict[fx.Node, fx.Node] = {}
    memory: dict[int, Any] = {}  # of copies, so that layers that share a weight go on to
    names: dict[str, str] = {}
    for node in followed.graph.nodes:
        if node.op == "call_module" and _does_nothing(followed, node):
            made[node] = made[node.all_input_nodes[0]]
            continue
        made[node] = new = graph.node_copy(node, lambda one: made[one])
        if node.op in ("call_module", "get_attr"):
            new.target = names.setdefault(str(node.target), _flat(place_of(node), names))
            part = _part(kept, node, readers.get(node), memory)
            if isinstance(part, nn.Module):
                root.add_module(new.target, part)
            elif isinstance(part, nn.Parameter):
                root.register_parameter(new.target, part)
            else:
                root.register_buffer(new.target, part)
        elif followed.kinds[node] in ("flatten", "padding"):
            _with_new_sizes(kept, node, new, graph)
    module = fx.GraphModule(root, graph).eval()
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _flat(place: str, taken: dict[str, str]) -> str:
    name = "".join(c if c.isalnum() and c.isascii() else "_" for c in place) or "layer"
    name = name if not name[0].isdigit() else f"layer_{name}"
    while name in taken.values() or hasattr(nn.Module, name):
        name += "_"
    return name


def _does_nothing(followed: Followed, node: fx.Node) -> bool:
    layer = followed.graph.module.get_submodule(str(node.target))
    kinds = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
    return (
        followed.kinds[node] == "elementwise"
        and isinstance(layer, (*kinds, nn.FeatureAlphaDropout))
        and len(node.args) == 1
    )


def _part(kept: Kept, node: fx.Node, reader: Reader | None, memory: dict[int, Any]) -> Any:
    """The layer or parameter of a node with what stays of it."""
    followed = kept.followed
    if node.op == "get_attr":
        value: Tensor = followed.graph.values[node]
        channels = followed.channels.get(node)
        if channels is not None and followed.kinds[node] == "parameter":
            value = value.index_select(channels.axis, _indices(kept.mask(channels)))
        value = value.detach().clone()
        own = getattr(followed.graph.module.get_submodule(_parent(node)), str(node.target).rpartition(".")[2])
        return nn.Parameter(value, requires_grad=False) if isinstance(own, nn.Parameter) else value
    layer: Any = copy.deepcopy(followed.graph.module.get_submodule(str(node.target)), memory)
    if reader is not None and reader.kind != "group norm":
        return _narrowed(kept, reader, layer)
    if followed.kinds[node] in ("norm", "group norm"):
        channels = reader.inputs if reader is not None else followed.channels[node]
        return _norm(layer, kept.mask(channels), reader)
    return layer


def _parent(node: fx.Node) -> str:
    return str(node.target).rpartition(".")[0]


def _indices(mask: Mask) -> Tensor:
    return torch.from_numpy(np.flatnonzero(mask))


def _norm(layer: Any, mask: Mask, reader: Reader | None) -> nn.Module:
    for name in PER_CHANNEL:
        own = getattr(layer, name, None)
        if isinstance(own, Tensor) and own.ndim and len(own) == len(mask) and len(mask) > 1:
            cut = own.detach()[_indices(mask)].clone()
            setattr(layer, name, nn.Parameter(cut, False) if isinstance(own, nn.Parameter) else cut)
    count = int(mask.sum())
    if reader is not None:
        layer.num_groups = layer.num_groups * count // len(mask)
        layer.num_channels = count
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)
    elif hasattr(layer, "num_features"):
        layer.num_features = count
    return layer  # type: ignore[no-any-return]


def _narrowed(kept: Kept, reader: Reader, layer: Any) -> nn.Module:
    """A convolution or linear layer with the rows and columns that stay, and what the others added."""
    inputs, outputs = kept.mask(reader.inputs), kept.mask(reader.outputs)
    weight, bias = layer.weight.detach().clone(), layer.bias
    if reader.groups > 1:
        layer.groups = reader.groups * int(inputs.sum()) // len(inputs)
        weight = weight[_indices(outputs)]
    else:
        added = _fold(reader, weight, inputs, outputs)
        if added is not None:
            bias = added if bias is None else bias.detach() + added
        weight = weight[_indices(outputs)][:, _indices(inputs)]
    layer.weight = nn.Parameter(weight.contiguous(), False)
    layer.bias = None if bias is None else nn.Parameter(bias.detach()[_indices(outputs)].clone(), False)
    for name, mask in (("in", inputs), ("out", outputs)):
        unit = "features" if reader.kind == "linear" else "channels"
        setattr(layer, f"{name}_{unit}", int(mask.sum()))
    return layer  # type: ignore[no-any-return]


def _fold(reader: Reader, weight: Tensor, inputs: Mask, outputs: Mask) -> Tensor | None:
    """What constant channels that go add to the bias ``(O,)``, None for nothing.

    Where zero padding gives them an edge they go, in ``weight`` itself, into a constant channel that stays:
    w_r += (c_i/c_r)·w_i.
    """
    going = ~inputs & edged(reader.inputs)
    used = weight[_indices(outputs)].transpose(0, 1).flatten(1).ne(0).any(1).numpy()
    going &= used
    if not going.any():
        return None
    values = torch.from_numpy(reader.inputs.values).to(weight.dtype)
    if reader.exact:
        sums = weight.flatten(2).sum(2) if weight.ndim > 2 else weight
        return sums[:, _indices(going)] @ values[_indices(going)]
    stays = inputs & edged(reader.inputs)
    chosen = int(np.argmax(np.where(stays, np.abs(reader.inputs.values), -1)))
    assert stays[chosen], "a constant channel that stands for the others stays"
    for place in np.flatnonzero(going):
        weight[:, chosen] += values[place] / values[chosen] * weight[:, place]
    return None


def _with_new_sizes(kept: Kept, node: fx.Node, new: fx.Node, graph: fx.Graph) -> None:
    """Reshapes and paddings have sizes written into them."""
    followed = kept.followed
    channels: Channels = followed.channels[node]
    mask, value = kept.mask(channels), followed.graph.values[node]
    if mask.all():
        return
    if followed.kinds[node] == "flatten":
        source = new.all_input_nodes[0]
        if node.op == "call_module" or new.target in ("flatten", torch.flatten):
            return
        if value.ndim == 2:
            new.op, new.target, new.args, new.kwargs = "call_function", torch.flatten, (source, 1), {}
            return
        sizes = list(value.shape[1:])
        sizes[channels.axis - 1] = int(mask.sum())
        new.op, new.target, new.args, new.kwargs = "call_method", "reshape", (source, -1, *sizes), {}
        return
    _with_new_padding(kept, node, new, mask, channels)


def _with_new_padding(
    kept: Kept, node: fx.Node, new: fx.Node, mask: NDArray[np.bool_], channels: Channels
) -> None:
    source = node.all_input_nodes[0]
    amounts = list(node.args[1] if len(node.args) > 1 else node.kwargs["pad"])  # type: ignore[arg-type]
    place = 2 * (kept.followed.graph.values[node].ndim - 1 - channels.axis)
    if place >= len(amounts):
        return
    before = amounts[place]
    after = before + len(kept.followed.channels[source])
    amounts[place : place + 2] = int(mask[:before].sum()), int(mask[after:].sum())
    if len(node.args) > 1:
        new.args = (new.args[0], tuple(amounts), *new.args[2:])
    else:
        new.kwargs = {**new.kwargs, "pad": tuple(amounts)}
