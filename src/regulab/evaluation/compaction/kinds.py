"""What a node of the graph does with channels: one word for each kind that the rules know."""

from __future__ import annotations

import operator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from regulab.evaluation.compaction.plain_layers import BATCH_NORMS, CONVOLUTIONS, PlainFilterResponse

Kind = Literal[
    "input",
    "parameter",
    "convolution",
    "linear",
    "norm",
    "group norm",
    "elementwise",
    "combination",
    "places",
    "flatten",
    "concatenation",
    "padding",
    "number",
    "output",
    "unknown",
]

ELEMENTWISE_LAYERS = (
    *(
        nn.Identity,
        nn.Dropout,
        nn.Dropout1d,
        nn.Dropout2d,
        nn.Dropout3d,
        nn.AlphaDropout,
        nn.FeatureAlphaDropout,
    ),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish),
    *(
        nn.Hardsigmoid,
        nn.Hardtanh,
        nn.Sigmoid,
        nn.LogSigmoid,
        nn.Tanh,
        nn.Softplus,
        nn.Softsign,
        nn.Tanhshrink,
    ),
    *(nn.Softshrink, nn.Hardshrink, nn.Threshold),
)
PLACE_LAYERS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.LPPool2d, nn.ZeroPad2d),
    *(nn.ReflectionPad2d, nn.ReplicationPad2d, nn.ConstantPad2d, nn.Upsample),
)
CHANNEL_NORMS = (
    *BATCH_NORMS,
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    PlainFilterResponse,
)
_NAMES = {
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "hardswish",
    "hardsigmoid",
    "hardtanh",
    "sigmoid",
    "logsigmoid",
    "tanh",
    "softplus",
    "softsign",
    "tanhshrink",
    "softshrink",
    "hardshrink",
    "threshold",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "alpha_dropout",
    "feature_alpha_dropout",
    "clamp",
    "clip",
    "abs",
    "neg",
    "exp",
    "square",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "erf",
    "contiguous",
    "clone",
    "detach",
    "float",
    "double",
}
_PLACES = {
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "interpolate",
}
_COMBINED = {
    "add",
    "sub",
    "mul",
    "div",
    "true_divide",
    "maximum",
    "minimum",
    "pow",
    "multiply",
    "subtract",
    "expand_as",
}
_REDUCED = {"mean", "sum", "amax", "amin"}
_MOVED = {"unsqueeze", "squeeze", "transpose", "swapaxes", "permute"}
_OPERATORS = {operator.add, operator.sub, operator.mul, operator.truediv, operator.pow}
FUNCTIONS = (torch, F, torch.special)  # whose functions are known by their names


def kind_of(node: fx.Node, module: nn.Module, values: dict[fx.Node, Any], shared: set[str]) -> Kind:
    """The kind of a node; ``shared``: targets whose parameters are used in more than one place."""
    if node.op == "placeholder":
        return "input"
    if node.op == "output":
        return "output"
    if not isinstance(values.get(node), Tensor):
        return "number"
    if str(node.target) in shared and node.op in ("call_module", "get_attr"):
        return "unknown"
    if node.op == "get_attr":
        return "parameter"
    if node.op == "call_module":
        return _layer(module.get_submodule(str(node.target)))
    return _function(node, values)


def hooked(layer: nn.Module) -> bool:
    """Whether something is done around a layer's forward pass."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def _layer(layer: nn.Module) -> Kind:
    if hooked(layer):
        return "unknown"
    for kinds, word in _LAYERS:
        for kind in kinds:
            if isinstance(layer, kind) and type(layer).forward is kind.forward:
                own = getattr(type(layer), "_conv_forward", None)
                return word if own is getattr(kind, "_conv_forward", None) else "unknown"
    return "unknown"


_LAYERS: tuple[tuple[tuple[Any, ...], Kind], ...] = (
    (CONVOLUTIONS, "convolution"),
    ((nn.Linear,), "linear"),
    (CHANNEL_NORMS, "norm"),
    ((nn.PReLU,), "norm"),
    ((nn.GroupNorm,), "group norm"),
    (ELEMENTWISE_LAYERS, "elementwise"),
    (PLACE_LAYERS, "places"),
    ((nn.Flatten,), "flatten"),
)


def name_of(node: fx.Node) -> str:
    """What a function or method is called."""
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def _function(node: fx.Node, values: dict[fx.Node, Any]) -> Kind:
    name, target = name_of(node), node.target
    if target is operator.getitem:
        return "places" if isinstance(values.get(node.all_input_nodes[0]), Tensor) else "unknown"
    if target in _OPERATORS:
        return "combination"
    known = node.op == "call_method" or any(getattr(space, name, None) is target for space in FUNCTIONS)
    known = known or getattr(target, "__module__", "") in ("torch.nn.functional", "torch._jit_internal")
    if not known:
        return "unknown"
    if name in ("flatten", "view", "reshape"):
        return "flatten"
    if name in ("cat", "concat", "concatenate"):
        return "concatenation"
    if name in ("pad", "_pad"):
        return "padding"
    if name in _COMBINED:
        return "combination"
    if name in _NAMES:
        return "elementwise"
    if name in _PLACES or name in _REDUCED or name in _MOVED:
        return "places"
    return "unknown"
