"""What a node is called in messages, and why no channel goes through it."""

from __future__ import annotations

from collections import Counter

from torch import fx

from regulab.evaluation.compaction.graph import ROOT, Graph
from regulab.evaluation.compaction.kinds import hooked, name_of


def place_of(node: fx.Node) -> str:
    """The layer that a node belongs to, by the name that the network has for it."""
    if node.op in ("call_module", "get_attr"):
        return str(node.target).removeprefix(f"{ROOT}.")
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    where = str(stack[-1][0] if isinstance(stack[-1], tuple) else "") if stack else ""
    inside = where.removeprefix(ROOT).removeprefix(".")
    return f"{inside}: {name_of(node)}" if inside else name_of(node)


def shared_targets(graph: Graph) -> set[str]:
    """Targets whose parameters or buffers are read in more than one place."""
    reads: Counter[int] = Counter()
    owners: dict[str, set[int]] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            layer = graph.module.get_submodule(str(node.target))
            ids = {id(one) for one in (*layer.parameters(), *layer.buffers())}
        elif node.op == "get_attr":
            ids = {id(graph.values[node])}
        else:
            continue
        reads.update(ids)
        owners.setdefault(str(node.target), set()).update(ids)
    return {target for target, ids in owners.items() if any(reads[one] > 1 for one in ids)}


def why_unknown(graph: Graph, shared: set[str], node: fx.Node) -> str:
    """Why no channel can go through a node."""
    target = str(node.target)
    if node.op in ("call_module", "get_attr") and target in shared:
        return "its weights are used in more than one place"
    if target in graph.opaque:
        return f"cannot be looked into: {graph.opaque[target]}"
    if node.op == "call_module":
        layer = graph.module.get_submodule(target)
        if hooked(layer):
            return "a hook changes what it does"
        return f"{type(layer).__name__} is not known to treat channels one by one"
    return "not known to treat channels one by one"
