"""Folds batch norms into the layer right before them: ŵ = s·w, b̂ = s·(b − μ) + β with s = γ/√(σ² + ε)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from regulab.evaluation.compaction.plain_layers import BATCH_NORMS, CONVOLUTIONS


def fold_batch_norms(module: fx.GraphModule) -> list[tuple[str, str]]:
    """Folds in place; returns the batch norms that stay, each with the reason.

    Max pooling between the two is no hindrance where no s is below 0: max(s·x + t) = s·max(x) + t.
    """
    stays = []
    for node in list(module.graph.nodes):
        norm = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, BATCH_NORMS):
            continue
        reason = _fold(module, node, norm)
        if reason:
            stays.append((str(node.target), reason))
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return stays


def _fold(module: fx.GraphModule, node: fx.Node, norm: Any) -> str:
    """Folds one batch norm; why not, where it cannot be."""
    if norm.running_mean is None:
        return "it takes the statistics of the batch in inference, too"
    scale, shift = _scale_and_shift(norm)
    source, pooled = node.args[0], False
    while _is(module, source, nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d) and len(source.users) == 1:  # type: ignore[union-attr]
        source, pooled = source.args[0], True  # type: ignore[union-attr]
    if not _is(module, source, (*CONVOLUTIONS, nn.Linear)) or len(source.users) > 1:  # type: ignore[union-attr]
        return "no convolution or linear layer that it alone reads stands before it"
    if pooled and not bool((scale >= 0).all()):
        return "max pooling stands between, and a scale is below 0"
    layer: Any = module.get_submodule(str(source.target))  # type: ignore[union-attr]
    if sum(other.target == source.target for other in module.graph.nodes) > 1:  # type: ignore[union-attr]
        return "the layer before it is used in more than one place"
    weight = layer.weight.detach()
    layer.weight = nn.Parameter(weight * scale.view(-1, *[1] * (weight.ndim - 1)), False)
    bias = 0 if layer.bias is None else layer.bias.detach()
    layer.bias = nn.Parameter(scale * bias + shift, False)
    node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
    module.graph.erase_node(node)
    return ""


def _is(module: fx.GraphModule, node: Any, kinds: Any) -> bool:
    found = isinstance(node, fx.Node) and node.op == "call_module"
    return found and isinstance(module.get_submodule(str(node.target)), kinds)


def _scale_and_shift(norm: Any) -> tuple[Tensor, Tensor]:
    deviation = torch.sqrt(norm.running_var + norm.eps)
    gamma = torch.ones_like(deviation) if norm.weight is None else norm.weight.detach()
    beta = torch.zeros_like(deviation) if norm.bias is None else norm.bias.detach()
    return gamma / deviation, beta - gamma * norm.running_mean / deviation
