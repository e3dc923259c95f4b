"""Follows channels through the graph: which are the same, which are constant, who reads them, and which must stay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from regulab.evaluation.compaction import axes
from regulab.evaluation.compaction.atoms import Atoms, Channels, constants
from regulab.evaluation.compaction.graph import Graph
from regulab.evaluation.compaction.kinds import Kind, kind_of
from regulab.evaluation.compaction.naming import place_of, shared_targets, why_unknown
from regulab.evaluation.compaction.plain_layers import CONVOLUTIONS

OUTPUT = "the network's output"


@dataclass
class Reader:
    """A convolution, a linear layer or a group norm: what comes in, what goes out, in how many groups."""

    node: fx.Node
    kind: Kind
    layer: Any
    inputs: Channels
    outputs: Channels
    groups: int = 1

    @property
    def exact(self) -> bool:
        """Whether a constant channel adds the same to every place of the output, so that it fits into the bias."""
        if self.kind == "linear":
            return True
        padding = self.layer.padding
        none = padding == "valid" or (not isinstance(padding, str) and not any(padding))
        return none or self.layer.padding_mode != "zeros"


@dataclass
class Followed:
    """What is known of the channels of every node; ``kinds`` has the rule that held, which may be unknown."""

    graph: Graph
    atoms: Atoms = field(default_factory=Atoms)
    channels: dict[fx.Node, Channels] = field(default_factory=dict)
    kinds: dict[fx.Node, Kind] = field(default_factory=dict)
    readers: list[Reader] = field(default_factory=list)
    shared: set[str] = field(default_factory=set)


def follow(graph: Graph) -> Followed:
    """Goes through the graph once, in its order."""
    followed = Followed(graph, shared=shared_targets(graph))
    for node in graph.nodes:
        kind = kind_of(node, graph.module, graph.values, followed.shared)
        followed.kinds[node] = kind
        if kind == "number":
            _number(followed, node)
        elif kind == "output":
            for source in _tensors(followed, node):
                _hold(followed, source, OUTPUT, "")
        elif kind != "parameter" and not RULES[kind](followed, node):
            followed.kinds[node] = "unknown"
            _unknown(followed, node)
    return followed


def _tensors(followed: Followed, node: fx.Node) -> list[fx.Node]:
    return [one for one in node.all_input_nodes if isinstance(followed.graph.values.get(one), Tensor)]


def _hold(followed: Followed, node: fx.Node, place: str, reason: str) -> None:
    if node in followed.channels:
        followed.atoms.hold(followed.channels[node].ids, place, reason)


def _number(followed: Followed, node: fx.Node) -> None:
    """A size is harmless where only numbers of it are read, which no channel changes any more; the rest is unknown."""
    value = followed.graph.values.get(node)
    if isinstance(value, int | float | torch.dtype | torch.device):
        return
    parts = [followed.graph.values.get(user) for user in node.users]
    if all(isinstance(part, int | float) for part in parts) and isinstance(value, torch.Size):
        return
    for source in _tensors(followed, node):
        _hold(followed, source, place_of(node), why_unknown(followed.graph, followed.shared, node))


def _unknown(followed: Followed, node: fx.Node) -> None:
    place, reason = place_of(node), why_unknown(followed.graph, followed.shared, node)
    for source in _tensors(followed, node):
        _hold(followed, source, place, reason)
    value = followed.graph.values[node]
    if not value.ndim:
        return
    axis = min(1, value.ndim - 1)
    made = _made(followed, node, axis, followed.atoms.new(value.shape[axis]), False)
    followed.atoms.hold(made.ids, place, reason)


def _made(
    followed: Followed,
    node: fx.Node,
    axis: int,
    ids: NDArray[np.int64],
    independent: NDArray[np.bool_] | bool,
) -> Channels:
    flags = np.broadcast_to(np.asarray(independent), ids.shape)
    constant, values = constants(followed.graph.values[node], axis, flags)
    followed.channels[node] = made = Channels(axis, ids, constant, values)
    return made


def _source(followed: Followed, node: fx.Node) -> tuple[fx.Node, Channels] | None:
    """The only tensor that a node reads, with its channels."""
    tensors = _tensors(followed, node)
    if len(tensors) != 1 or tensors[0] not in followed.channels:
        return None
    return tensors[0], followed.channels[tensors[0]]


def _input(followed: Followed, node: fx.Node) -> bool:
    ids = followed.atoms.new(followed.graph.values[node].shape[1])
    _made(followed, node, 1, ids, False)
    followed.atoms.hold(ids, "the images", "")
    return True


def _reads(followed: Followed, node: fx.Node) -> bool:
    """Convolution and linear: outputs of their own; constant where every weight on what is not constant is 0."""
    found = _source(followed, node)
    if found is None:
        return False
    source, inputs = found
    layer: Any = followed.graph.module.get_submodule(str(node.target))
    kind, dimensions = followed.kinds[node], followed.graph.values[source].ndim
    if kind == "linear":
        fits, axis, groups = inputs.axis == dimensions - 1, dimensions - 1, 1
    else:
        spatial = next(n for n, one in enumerate(CONVOLUTIONS, 1) if isinstance(layer, one))
        fits, axis, groups = inputs.axis == 1 and dimensions == spatial + 2, 1, layer.groups
        if dimensions != spatial + 2:
            return False
    if not fits:  # what it reads are not channels: all of it stays
        followed.atoms.hold(inputs.ids, place_of(node), "it reads another axis than that of the channels")
        count = layer.in_features if kind == "linear" else layer.in_channels
        inputs = Channels(axis, followed.atoms.new(count), np.zeros(count, bool), np.zeros(count))
        followed.atoms.hold(inputs.ids, place_of(node), "")
    weight = layer.weight.detach().flatten(2) if kind == "convolution" else layer.weight.detach()[..., None]
    used = weight.ne(0).any(2).numpy()  # (O, I/groups)
    moving = ~inputs.constant.reshape(groups, -1)
    rows = used.reshape(groups, -1, used.shape[1])
    independent = ~(rows & moving[:, None, :]).any(2).reshape(-1)
    made = _made(followed, node, axis, followed.atoms.new(len(weight)), independent)
    followed.readers.append(Reader(node, kind, layer, inputs, made, groups))
    return True


def _norm(followed: Followed, node: fx.Node) -> bool:
    """Batch, instance and filter response norm: channel by channel; constant, too, where γ is 0."""
    found = _source(followed, node)
    layer: Any = followed.graph.module.get_submodule(str(node.target))
    if found is None or found[1].axis != 1 or not axes.spatial(layer, followed.graph.values[found[0]]):
        return False
    independent = found[1].constant
    weight = getattr(layer, "weight", None)
    if weight is not None and not isinstance(layer, nn.PReLU):
        independent = independent | (weight.detach() == 0).numpy()
    _made(followed, node, 1, found[1].ids, independent)
    return True


def _group_norm(followed: Followed, node: fx.Node) -> bool:
    """A group's mean and deviation are of all its channels: none can go alone."""
    found = _source(followed, node)
    layer: Any = followed.graph.module.get_submodule(str(node.target))
    if found is None or found[1].axis != 1:
        return False
    inputs = found[1]
    independent = np.repeat(
        inputs.constant.reshape(layer.num_groups, -1).all(1), len(inputs) // layer.num_groups
    )
    if layer.weight is not None:
        independent = independent | (layer.weight.detach() == 0).numpy()
    made = _made(followed, node, 1, followed.atoms.new(len(inputs)), independent)
    followed.readers.append(Reader(node, "group norm", layer, inputs, made, layer.num_groups))
    return True


def _elementwise(followed: Followed, node: fx.Node) -> bool:
    found = _source(followed, node)
    if found is None:
        return False
    alone = (
        len(node.all_input_nodes) == 1
    )  # beside a number such as the size of the batch nothing is constant
    _made(followed, node, found[1].axis, found[1].ids, found[1].constant & alone)
    return True


def _places(followed: Followed, node: fx.Node) -> bool:
    """Pooling, slices and means over places: channels stay what they are, along an axis that may move."""
    found = _source(followed, node)
    if found is None:
        return False
    source, inputs = found
    axis = axes.after(node, followed.graph, followed.graph.values[source], inputs.axis)
    if axis is None or followed.graph.values[node].shape[axis] != len(inputs):
        return False
    _made(followed, node, axis, inputs.ids, inputs.constant)
    return True


def _flatten(followed: Followed, node: fx.Node) -> bool:
    found = _source(followed, node)
    if found is None:
        return False
    source, inputs = found
    before, after = (followed.graph.values[one] for one in (source, node))
    moved = axes.reshaped(before.shape, after.shape, inputs.axis)
    if moved is None:
        return False
    axis, origin = moved
    _made(followed, node, axis, inputs.ids[origin], inputs.constant[origin])
    return True


def _concatenation(followed: Followed, node: fx.Node) -> bool:
    parts = node.args[0] if node.args else None
    if not isinstance(parts, list | tuple) or any(part not in followed.channels for part in parts):
        return False
    channels = [followed.channels[part] for part in parts]
    axis = channels[0].axis
    along = axes.argument(node, 1, "dim", 0)
    if not isinstance(along, int) or any(one.axis != axis for one in channels):
        return False
    if along % followed.graph.values[node].ndim == axis:
        ids, constant = (
            np.concatenate([getattr(one, name) for one in channels]) for name in ("ids", "constant")
        )
    else:
        for other in channels[1:]:
            followed.atoms.join(channels[0].ids, other.ids)
        ids, constant = channels[0].ids, np.logical_and.reduce([one.constant for one in channels])
    _made(followed, node, axis, ids, constant)
    return True


def _padding(followed: Followed, node: fx.Node) -> bool:
    found = _source(followed, node)
    if found is None:
        return False
    source, inputs = found
    added = axes.padded(node, followed.graph.values[source].ndim, inputs.axis)
    if added is None:
        return False
    before, after = added
    ids = np.concatenate([followed.atoms.new(before), inputs.ids, followed.atoms.new(after)])
    constant = np.concatenate([np.ones(before, bool), inputs.constant, np.ones(after, bool)])
    _made(followed, node, inputs.axis, ids, constant)
    return True


def _combination(followed: Followed, node: fx.Node) -> bool:
    """A sum or product of two tensors: the channel of one and that of the other are one, and go together or stay."""
    operands = _tensors(followed, node)
    if len(operands) == 1:
        return _elementwise(followed, node)
    known = [one for one in operands if one in followed.channels]
    if len(operands) != 2 or not known:
        return False
    ndim = followed.graph.values[node].ndim
    first = max(known, key=lambda one: len(followed.channels[one]))
    lead = followed.channels[first]
    other = operands[1] if operands[0] is first else operands[0]
    if followed.graph.values[first].ndim != ndim:
        return False
    if other not in followed.channels and not _as_parameter(followed, other, lead.axis - ndim, len(lead)):
        return False
    right = followed.channels.get(other)
    constant = lead.constant
    if right is not None:
        if right.axis - followed.graph.values[other].ndim != lead.axis - ndim:
            return False
        if len(right) == len(lead):
            followed.atoms.join(lead.ids, right.ids)
        else:
            followed.atoms.hold(right.ids, place_of(node), "it counts for every channel")
        constant = constant & right.constant
    _made(followed, node, lead.axis, lead.ids, constant)
    return True


def _as_parameter(followed: Followed, node: fx.Node, axis: int, count: int) -> bool:
    """Gives a parameter channels where it has one number or one place for each; ``axis`` counts from the right."""
    if followed.kinds.get(node) != "parameter" or len(node.users) != 1:
        return False
    shape = followed.graph.values[node].shape
    if len(shape) < -axis or shape[axis] == 1:
        return True  # the same for every channel
    if shape[axis] != count:
        return False
    _made(followed, node, len(shape) + axis, followed.atoms.new(count), True)
    return True


def _never(followed: Followed, node: fx.Node) -> bool:
    return False


RULES: dict[Kind, Any] = {
    "input": _input,
    "convolution": _reads,
    "linear": _reads,
    "norm": _norm,
    "group norm": _group_norm,
    "elementwise": _elementwise,
    "places": _places,
    "flatten": _flatten,
    "concatenation": _concatenation,
    "padding": _padding,
    "combination": _combination,
    "unknown": _never,
}
