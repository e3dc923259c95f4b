"""What a network does in inference, as a graph of layers and functions (torch.fx) that can be looked through.

What torch.fx cannot follow (a decision that depends on values, a call that it does not know) stays one opaque layer.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from regulab.errors import UserError
from regulab.evaluation.compaction.plain_layers import PlainFilterResponse, with_plain_layers
from regulab.models.layers.residual import PaddedShortcut

ROOT = "network"
IN_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
PLAIN = {name: getattr(nn.Module, name) for name in ("__call__", "__getattr__")}
LEAVES = (PlainFilterResponse, PaddedShortcut)


@dataclass
class Graph:
    """``module`` takes ``(B, C, H, W)``; ``values`` has what each node gave for a probe, in float64 where possible.

    ``opaque``: the layers that could not be looked into, each with the reason.
    """

    module: fx.GraphModule
    probe: Tensor
    values: dict[fx.Node, Any]
    opaque: dict[str, str] = field(default_factory=dict)

    @property
    def nodes(self) -> list[fx.Node]:
        return list(self.module.graph.nodes)


def graph_of(network: nn.Module, example: Tensor) -> Graph:
    """The graph of a network for images like ``example`` ``(B, C, H, W)``, without what inference does not do.

    Raises `UserError` where nothing of the network can be followed, or where the graph does not give what the network
    gives: one that draws at random, or keeps state from call to call.
    """
    plain = _Whole(with_plain_layers(network))
    probe = _probe(example.cpu())
    module, opaque = _traced(plain, probe)
    if ROOT in opaque:
        raise UserError(
            "the network's forward pass cannot be followed",
            got=opaque[ROOT],
            expected="layers called one after the other, without decisions that depend on an image's values",
            where=type(network).__name__,
        )
    _without_changes_in_place(module)
    module, probe = _in_float64(module, probe)
    values = _run(module, probe)
    _with_sizes_written_in(module, values, _run(module, probe[:2]))
    _with_plain_shortcuts(module, values)
    module.graph.eliminate_dead_code()
    module.recompile()
    values = _run(module, probe)
    _refuse_other_function(network, module, probe, type(network).__name__)
    return Graph(module, probe, values, opaque)


class _Whole(nn.Module):
    """A network as the one layer of another, so that its parameters with defaults are not inputs of the graph."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x)
        return y


class _Tracer(fx.Tracer):
    """Takes torch's own layers as they are, also where a subclass adds nothing to the forward pass.

    Beside the graph it computes for the images ``x``, so that sizes can be unpacked and compared as usual.
    """

    def __init__(self, opaque: Mapping[str, str], x: Tensor) -> None:
        super().__init__()
        self.opaque = opaque
        self.inside: list[str] = []
        self.values: dict[fx.Node, Any] = {}
        self.x = x

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self.opaque or isinstance(m, LEAVES):
            return True
        forward = getattr(type(m).forward, "__module__", None) or ""
        return forward.startswith("torch.nn.") and not isinstance(m, nn.Sequential)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self.inside.append(self.path_of_module(m))
        result = super().call_module(m, forward, args, kwargs)
        self.inside.pop()
        return result

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **other: Any
    ) -> fx.Proxy:
        proxy = super().create_proxy(kind, target, args, kwargs, *more, **other)
        given = fx.node.map_arg((proxy.node.args, proxy.node.kwargs), lambda node: self.values[node])
        if kind == "placeholder":
            self.values[proxy.node] = self.x
        elif kind != "output":
            self.values[proxy.node] = _computed(self.root, kind, target, *given)
        return proxy

    def iter(self, obj: fx.Proxy) -> Any:
        value = self.values.get(obj.node)
        if isinstance(value, tuple | list):
            return iter([operator.getitem(obj, place) for place in range(len(value))])
        return super().iter(obj)

    def to_bool(self, obj: fx.Proxy) -> bool:
        value = self.values.get(obj.node)
        return value if isinstance(value, bool) else super().to_bool(obj)


def _computed(root: Any, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
    with _as_torch_has_it(), torch.no_grad():
        if kind == "get_attr":
            for name in target.split("."):
                root = getattr(root, name)
            return root
        if kind == "call_module":
            return root.get_submodule(target)(*args, **kwargs)
        return (
            getattr(args[0], target)(*args[1:], **kwargs)
            if kind == "call_method"
            else target(*args, **kwargs)
        )


@contextmanager
def _as_torch_has_it() -> Iterator[None]:
    """Layers are called and read as always: while torch.fx traces, it has put itself in the place of both."""
    following = [(name, getattr(nn.Module, name)) for name in PLAIN]
    try:
        for name, plain in PLAIN.items():
            setattr(nn.Module, name, plain)
        yield
    finally:
        for name, own in following:
            setattr(nn.Module, name, own)


def _traced(whole: nn.Module, x: Tensor) -> tuple[fx.GraphModule, dict[str, str]]:
    """The graph, and the layers that had to stay closed, by name, with what stopped torch.fx in them."""
    opaque: dict[str, str] = {}
    while True:
        tracer = _Tracer(opaque, x)
        try:
            return fx.GraphModule(whole, tracer.trace(whole)), opaque
        except Exception as error:  # a person's code, called with what is no tensor, can fail in any way
            place = tracer.inside[-1] if tracer.inside else ROOT
            place = ROOT if place in opaque else place
            opaque[place] = str(error).strip().partition("\n")[0] or type(error).__name__
            if place == ROOT:
                return fx.GraphModule(whole, fx.Graph()), opaque


def _probe(example: Tensor) -> Tensor:
    """Three images of noise as large as the example's values: what holds for them holds for no one image alone."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, *example.shape[1:], generator=generator, dtype=torch.float64)
    spread = example.double().std() if example.numel() > 1 else torch.ones(())
    return (example.double().mean() + noise * spread.clamp(min=1e-3)).to(example.dtype)


def _in_float64(module: fx.GraphModule, probe: Tensor) -> tuple[fx.GraphModule, Tensor]:
    """The same in float64, so that constants are known to more digits than the network has; else as it is."""
    try:
        wide = copy.deepcopy(module).double()
        with torch.no_grad():
            wide(probe.double())
    except Exception:  # a type written into the forward pass
        return module, probe
    return wide, probe.double()


class _Recorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.seen[n] = result = super().run_node(n)
        return result


def _run(module: fx.GraphModule, x: Tensor) -> dict[fx.Node, Any]:
    recorder = _Recorder(module)
    with torch.no_grad():
        recorder.run(x)
    return recorder.seen


def _without_changes_in_place(module: fx.GraphModule) -> None:
    """Every function gives a new tensor, and who reads a changed tensor after the change reads the new one."""
    order = {node: place for place, node in enumerate(module.graph.nodes)}
    for node in module.graph.nodes:
        if not _is_in_place(node, module):
            continue
        changed = node.args[0] if node.args else None
        if node.op == "call_function" and node.target in IN_PLACE:
            node.target = IN_PLACE[node.target]
        elif node.op == "call_method" or (node.op == "call_function" and node.target.__name__.endswith("_")):
            node.op, node.target = _new_tensor_from(node)
        elif node.op == "call_function":
            node.kwargs = {**node.kwargs, "inplace": False}
        else:
            layer: Any = module.get_submodule(str(node.target))
            layer.inplace = False
        if isinstance(changed, fx.Node):
            later = [user for user in changed.users if order[user] > order[node]]
            for user in later:
                user.replace_input_with(changed, node)


def _is_in_place(node: fx.Node, module: fx.GraphModule) -> bool:
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_method":
        name = str(node.target)
        return name.endswith("_") and not name.endswith("__") and hasattr(Tensor, name[:-1])
    if node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        plain = name.endswith("_") and not name.startswith("__")
        return node.target in IN_PLACE or plain or bool(node.kwargs.get("inplace", False))
    return False


def _new_tensor_from(node: fx.Node) -> tuple[str, Any]:
    """The operation of a node whose name ends with an underscore, as the one that leaves its input as it is."""
    if node.op == "call_method":
        return "call_method", str(node.target)[:-1]
    name = node.target.__name__[:-1]  # type: ignore[union-attr]
    return "call_function", getattr(torch.nn.functional, name, None) or getattr(torch, name)


def _with_sizes_written_in(
    module: fx.GraphModule, values: Mapping[fx.Node, Any], fewer: Mapping[fx.Node, Any]
) -> None:
    """Numbers that the same images give whatever the batch are written in: what reads a size reads no channels."""
    for node in reversed(list(module.graph.nodes)):
        value = values.get(node)
        if node.op in ("placeholder", "output") or not isinstance(value, int | float) or value != fewer[node]:
            continue
        number: dict[fx.Node, Any] = {node: value}
        for user in list(node.users):
            user.args = fx.node.map_arg(user.args, partial(_known, number))
            user.kwargs = fx.node.map_arg(user.kwargs, partial(_known, number))
        if not node.users:
            module.graph.erase_node(node)


def _known(numbers: Mapping[fx.Node, Any], node: fx.Node) -> Any:
    return numbers.get(node, node)


def _with_plain_shortcuts(module: fx.GraphModule, values: Mapping[fx.Node, Any]) -> None:
    """`PaddedShortcut` as the slice and the padding that it is for one run."""
    every, second = slice(None, None, None), slice(None, None, 2)
    for node in list(module.graph.nodes):
        layer = module.get_submodule(node.target) if node.op == "call_module" else None
        if not isinstance(layer, PaddedShortcut):
            continue
        (source,) = node.args
        new = layer.channels - values[source].shape[1]
        amounts = (0, 0, 0, 0, new // 2, new - new // 2)
        with module.graph.inserting_before(node):
            smaller = module.graph.call_function(operator.getitem, (source, (every, every, second, second)))
            padded = module.graph.call_function(torch.nn.functional.pad, (smaller, amounts))
        node.replace_all_uses_with(padded)
        module.graph.erase_node(node)


def _refuse_other_function(network: nn.Module, module: fx.GraphModule, x: Tensor, name: str) -> None:
    original = with_plain_layers(network).to(x.dtype)
    with torch.no_grad():
        wanted, again, given = original(x), original(x), module(x)
    if not isinstance(wanted, Tensor):
        raise UserError(
            "the network gives more than one tensor", got=type(wanted).__name__, expected="logits", where=name
        )
    if not torch.equal(wanted, again):
        raise UserError(
            "the network does not repeat itself in inference mode",
            expected="the same output for the same images",
            where=name,
        )
    allowed = 1e-9 if x.dtype == torch.float64 else 1e-4
    if not torch.allclose(wanted, given, rtol=allowed, atol=allowed):
        raise UserError(
            "the network does something beside its layers that cannot be followed",
            expected="a forward pass that depends on the images alone",
            where=name,
        )
