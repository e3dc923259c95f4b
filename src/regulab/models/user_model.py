"""A person's own network, from a Python file: ``model: {name: "nets.py:MyNet"}``."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from regulab.config import Model
from regulab.errors import UserError
from regulab.models import sources
from regulab.models.attributes import as_text
from regulab.models.guard import guarded, words_of
from regulab.models.net import Net
from regulab.models.norm import Norm

WHERE = sources.WHERE
REPEATABLE = (
    "a constructor that draws from torch, numpy.random or random only, all three of which regulab keys by the seed: "
    "no clock, no os.urandom, no generator without a seed, nothing kept from network to network"
)
STATE = (
    int,
    float,
    Tensor,
    np.ndarray,
    np.random.Generator,
    np.random.RandomState,
    random.Random,
    torch.Generator,
)
OFFERED = "in_channels, classes, norm, norm_position, depth and dropout"


def is_user_model(name: str) -> bool:
    """Whether a model's name points into a file."""
    return ".py:" in name


def user_net(name: str) -> Net:
    """The net that ``FILE.py:NAME`` names: an `nn.Module` class, or a function that returns a module.

    It is called with those of ``in_channels``, ``classes``, ``norm`` (a function from a number of channels
    to a layer), ``norm_position``, ``depth`` and ``dropout`` that it has parameters for. Its dropout
    layers share their draws among arms like ours. Raises `UserError` where the file cannot be read or run,
    or holds no such net.
    """
    file, _, attribute = name.rpartition(":")
    module = sources.load(Path(file))
    factory = getattr(module, attribute, None)
    if isinstance(factory, nn.Module):
        raise UserError(
            f"{attribute} is one network, and every run needs its own",
            expected="a class, or a function that returns a new network",
            where=WHERE,
        )
    if not callable(factory):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        expected = f"one of {', '.join(public)}" if public else "a class or function"
        raise UserError(f"{file} has no net of this name", got=attribute, expected=expected, where=WHERE)
    return Net(
        name=name,
        summary=f"{attribute} from {file}",
        description=inspect.getdoc(factory) or "",
        build=_builder(factory, name),
        takes=_parameters(factory, name),
    )


def user_sources(name: str) -> dict[str, bytes]:
    """The file that a net's name points into, followed by those of its folder that it imports, by relative path."""
    file = Path(name.rpartition(":")[0])
    found = sources.sources(file)
    own = file.resolve().name
    return {own: found.pop(own), **found}


def refresh(name: str) -> None:
    """Reads a net's file anew if it or what it imports has changed since this process loaded it."""
    sources.refresh(Path(name.rpartition(":")[0]))


def starts(name: str) -> dict[object, str]:
    """For each network of a file that this process has built, its study and seed, the hash of its initial weights."""
    return sources.memory(Path(name.rpartition(":")[0]))


def shared_state(name: str) -> dict[str, str]:
    """Numbers, arrays and generators at the top level of a net's files, and in their classes, as text."""
    found = {}
    for module in sources.modules(Path(name.rpartition(":")[0])):
        owners: dict[str, Any] = {module.__name__.rpartition(".")[2]: module}
        owners |= {
            k: v for k, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__
        }
        for owner, holder in owners.items():
            for key, value in list(vars(holder).items()):
                if not key.startswith("__") and isinstance(value, STATE):
                    found[f"{owner}.{key}"] = as_text(value)
    return found


def _parameters(factory: Callable[..., Any], name: str) -> frozenset[str]:
    with guarded(f"the parameters of {name} cannot be read", where=WHERE):
        return frozenset(inspect.signature(factory).parameters)


def _constructor(error: BaseException) -> str:
    """The cure for a constructor that cannot be called."""
    if isinstance(error, TypeError) and "argument" in words_of(error):
        return f"parameters called {OFFERED}, as far as it needs them; others with defaults"
    return ""


def _builder(factory: Callable[..., Any], name: str) -> Callable[[int, int, Norm, Model], nn.Module]:
    def build(in_channels: int, classes: int, norm: Norm, model: Model) -> nn.Module:
        offered = {
            "in_channels": in_channels,
            "classes": classes,
            "norm": norm.build,
            "norm_position": model.norm_position,
            "depth": model.depth,
            "dropout": model.dropout,
        }
        accepted = _parameters(factory, name)
        given = {key: value for key, value in offered.items() if key in accepted and value is not None}
        with guarded(f"{name} cannot be built", where=WHERE, expected=_constructor):
            net = factory(**given)
        if not isinstance(net, nn.Module):
            raise UserError(
                f"what {name} gives is not a network",
                got=type(net).__name__,
                expected="a torch.nn.Module",
                where=WHERE,
            )
        return unwrapped(net, name)

    return build


def unwrapped(module: nn.Module, name: str) -> nn.Module:
    """The network itself, without what `torch.compile` and `nn.DataParallel` wrap around it or a part of it.

    Raises `UserError` for modules that cannot be looked into.
    """
    while True:
        compiled = type(module).__name__ == "OptimizedModule"  # what torch.compile returns
        inner = module._modules.get("_orig_mod") if compiled else None
        if isinstance(module, nn.DataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            break
        module = inner
    if isinstance(module, torch.jit.ScriptModule | nn.parallel.DistributedDataParallel):
        raise UserError(
            f"{name} has a part that cannot be looked into",
            got=type(module).__name__,
            expected="the nn.Module itself, not scripted, traced or distributed",
            where=WHERE,
        )
    module._compiled_call_impl = None  # what module.compile() sets
    for key, child in list(module._modules.items()):
        if child is not None:
            stripped = unwrapped(child, name)
            if stripped is not child:
                module._modules[key] = stripped
    return module


def materialize(module: nn.Module, name: str, images: Tensor) -> None:
    """Lets lazy layers take their sizes from a pass of ``images`` ``(B, C, H, W)`` in inference mode."""
    if not lazy(module):
        return
    _, c, h, w = images.shape
    training = module.training
    with guarded(f"{name} cannot take images of {c}×{h}×{w}", where=WHERE), torch.no_grad():
        module.eval()(images)
    module.train(training)
    left = lazy(module)
    if left:
        raise UserError(
            f"lazy layers of {name} that a forward pass does not reach",
            got=", ".join(left),
            expected="layers with sizes",
            where=WHERE,
        )


def lazy(module: nn.Module) -> list[str]:
    """Names of the parameters and buffers that have no size yet."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return [
        name for name, tensor in tensors if isinstance(tensor, UninitializedParameter | UninitializedBuffer)
    ]


def refuse_tensors(module: nn.Module, name: str) -> None:
    """Raises `UserError` for parameters and buffers that training in float32 on one device could not keep."""
    for kind, named in (("parameter", module.named_parameters()), ("buffer", module.named_buffers())):
        for path, tensor in named:
            problem = _unfit(tensor)
            if problem:
                raise UserError(
                    f"{name} has a {kind} {path} that is {problem[0]}",
                    got=str(tensor.dtype).removeprefix("torch."),
                    expected=problem[1],
                    where=WHERE,
                )


def _unfit(tensor: Tensor) -> tuple[str, str] | None:
    if tensor.is_complex():
        return "complex", "real numbers: two parameters, or torch.view_as_real"
    if tensor.is_meta:
        return "on the device meta, without values", "values: build the layer on the CPU"
    if tensor.is_quantized or tensor.layout != torch.strided:
        return "quantized or sparse", "a dense tensor of floating-point numbers"
    return None
