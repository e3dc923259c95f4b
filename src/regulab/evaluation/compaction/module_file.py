"""Writes a compacted network as a plain Python file: torch's layers with their shapes, nothing of regulab's."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from regulab.errors import UserError
from regulab.evaluation.compaction.plain_layers import BATCH_NORMS, CONVOLUTIONS, PlainFilterResponse

WEIGHTS, MODULE = "model.safetensors", "model.py"
KNOWN = {"torch", "inf", "nan", "NoneType", "device", "fx_pytree", "pytree", "_Tensor_"}
HEAD = '''"""{title}

Written by `regulab compact`; needs torch and safetensors. To use it::

    from model import load

    network = load()  # the weights are read from model.safetensors beside this file
    logits = network(network.preprocess(pixels))  # uint8 (B, H, W, C) as stored: here {shape}

Inference only: dropout is left out, and normalization takes its running averages.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

CLASSES = {classes}
'''
TAIL = '''
    def preprocess(self, pixels):
        """uint8 ``(B, H, W, C)`` to what the network takes: v/255, less the mean, over the deviation."""
        x = pixels.permute(0, 3, 1, 2).to(self.preprocessing_mean.dtype) / 255
        return (x - self.preprocessing_mean) / self.preprocessing_deviation


def load(file=Path(__file__).with_name("{weights}")):
    """The network with its weights, in inference mode."""
    network = Network()
    network.load_state_dict(load_file(file))
    return network.eval()
'''


@dataclass(frozen=True)
class About:
    """What the file says of the network, and the preprocessing: mean and deviation ``(C, 1, 1)`` or ``(C, H, W)``."""

    title: str
    classes: Sequence[str]
    image: tuple[int, int, int]  # (H, W, C)
    mean: Tensor
    deviation: Tensor


def module_source(network: fx.GraphModule, about: About) -> str:
    """The file's text. Raises `UserError` that names a layer or function that cannot be written down."""
    code = network.graph.python_code("self")
    strange = sorted(set(code.globals) - KNOWN)
    if strange:
        raise UserError(
            "the network calls what is no function of torch's", got=", ".join(strange), where="model.py"
        )
    own = [inspect.getsource(PlainFilterResponse)] if any(_is_own(one) for one in network.children()) else []
    lines = ["class Network(nn.Module):", f'    """{_line(about.title)}"""', "", "    def __init__(self):"]
    lines += ["        super().__init__()"]
    lines += [
        f"        self.{name} = {layer_source(layer, name)}" for name, layer in network.named_children()
    ]
    for name, p in network.named_parameters(recurse=False):
        lines += [f"        self.{name} = nn.Parameter(torch.zeros({tuple(p.shape)}))"]
    buffers = dict(network.named_buffers(recurse=False))
    for name, b in (*buffers.items(), *_preprocessing(about).items()):
        lines += [f'        self.register_buffer("{name}", torch.zeros({tuple(b.shape)}, dtype={b.dtype}))']
    head = HEAD.format(
        title=_line(about.title), classes=list(about.classes), shape=f"(B, {_commas(about.image)})"
    )
    text = "\n".join([*lines, "", *(f"    {line}".rstrip() for line in _forward(code.src))])
    owned = "".join(f"\n\n{_without_annotations(one)}" for one in own)
    return f"{head}{owned}\n\n{text}\n{TAIL.format(weights=WEIGHTS)}"


def tensors(network: nn.Module, about: About) -> dict[str, Tensor]:
    """What ``model.safetensors`` holds: the state of the file's ``Network``."""
    state = {name: tensor.detach().clone().contiguous() for name, tensor in network.state_dict().items()}
    return {**state, **_preprocessing(about)}


def _preprocessing(about: About) -> dict[str, Tensor]:
    return {
        "preprocessing_mean": about.mean.clone().contiguous(),
        "preprocessing_deviation": about.deviation.clone().contiguous(),
    }


def layer_source(layer: nn.Module, name: str) -> str:
    """The call that makes a layer like this. Raises `UserError` where none is known to."""
    text = _call(layer)
    try:
        made = eval(text, {"nn": nn, "PlainFilterResponse": PlainFilterResponse, "torch": torch})
        like = type(made) is type(layer) or isinstance(layer, type(made))
        same = {k: v.shape for k, v in made.state_dict().items()} == {
            k: v.shape for k, v in layer.state_dict().items()
        }
    except Exception:  # its text is no call
        like = same = False
    if not like or not same:
        raise UserError(
            f"the layer {name} cannot be written as a call of torch's",
            got=type(layer).__name__,
            expected="a layer of torch.nn that prints how it is made",
            where="model.py",
        )
    return text


def _call(layer: Any) -> str:
    for kind in CONVOLUTIONS:
        if isinstance(layer, kind):
            mode = "" if layer.padding_mode == "zeros" else f", padding_mode={layer.padding_mode!r}"
            rest = "".join(
                f", {name}={_short(getattr(layer, name))}"
                for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1))
                if _short(getattr(layer, name)) != str(usual)
            )
            bias = "" if layer.bias is not None else ", bias=False"
            sizes = f"{layer.in_channels}, {layer.out_channels}, {_short(layer.kernel_size)}"
            return f"nn.{kind.__name__}({sizes}{rest}{bias}{mode})"
    for norm in BATCH_NORMS:  # newer versions of torch print more than older ones take
        if isinstance(layer, norm):
            more = "" if layer.weight is not None else ", affine=False"
            more += "" if layer.running_mean is not None else ", track_running_stats=False"
            return f"nn.{norm.__name__}({layer.num_features}, eps={layer.eps!r}{more})"
    if isinstance(layer, PlainFilterResponse):
        more = f"{layer.eps!r}, {layer.learned_eps is not None}, {layer.tau is not None}"
        return f"PlainFilterResponse({len(layer.weight)}, {more})"
    if isinstance(layer, nn.Linear):
        bias = "" if layer.bias is not None else ", bias=False"
        return f"nn.Linear({layer.in_features}, {layer.out_features}{bias})"
    return f"nn.{layer!r}"


def _short(value: Any) -> str:
    """(3, 3) as 3."""
    if isinstance(value, tuple) and len(set(value)) == 1:
        return repr(value[0])
    return repr(value)


def _forward(source: str) -> list[str]:
    """torch.fx's text of the forward pass, as a person would write it."""
    lines = []
    for line in source.strip().splitlines():
        if not line.strip() or line.startswith(("#", "@")):
            continue
        line = re.sub(r";  [\w =]+ = None$", "", line.rstrip())
        line = re.sub(r"\bnetwork_", "y_", line).replace(", inplace = False", "")
        line = re.sub(r"^def forward\(self, (\w+).*", r"def forward(self, \1):", line)
        line = re.sub(r"(\w+) : \S+ = ", r"\1 = ", line)
        lines.append(re.sub(r"\[\(((?:[^()]|slice\([^()]*\))*)\)\]", _index, line))
    return lines


def _index(found: re.Match[str]) -> str:
    def part(one: re.Match[str]) -> str:
        start, stop, step = ("" if value == "None" else value for value in one[1].split(", "))
        return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"

    return f"[{re.sub(r'slice.([^()]*).', part, found[1])}]"


def _is_own(layer: nn.Module) -> bool:
    return isinstance(layer, PlainFilterResponse)


def _without_annotations(source: str) -> str:
    return re.sub(r"(: (Tensor|int|float|bool)| -> (None|Tensor))(?=[,)=: ])", "", source)


def _line(text: str) -> str:
    return text.replace("\\", "/").replace('"', "'")


def _commas(sizes: Sequence[int]) -> str:
    return ", ".join(str(size) for size in sizes)
