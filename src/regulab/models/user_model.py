"""A network that is none of regulab's: from a Python file, ``nets.py:MyNet``, or from an installed package,
``timm:resnet18``."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from regulab.config import Model
from regulab.config.paths import model_path
from regulab.errors import UserError, did_you_mean
from regulab.models import packages, sources
from regulab.models.attributes import as_text
from regulab.models.calling import (
    OFFERED,
    Signature,
    Sizes,
    as_called,
    called,
    filled,
    refuse_args,
    refuse_downloads,
)
from regulab.models.guard import guarded, words_of
from regulab.models.net import Net
from regulab.models.norm import Norm
from regulab.models.offline import offline

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


def user_net(name: str) -> Net:
    """The net that ``FILE.py:NAME`` or ``PACKAGE:NAME`` names: an `nn.Module` class, or a function that returns one.

    Its parameters are filled by their names (`regulab.models.calling`). Its dropout layers share their draws among
    arms like ours. Raises `UserError` where the file or package cannot be read or run, or holds no such net.
    """
    given: Mapping[str, Any] = {}
    if model_path(name):
        attribute = name.rpartition(":")[2]
        factory, place = _in_file(name), name.rpartition(":")[0]
    else:
        package = packages.load(name)
        attribute, factory, given, place = name.partition(":")[2], package.factory, package.given, package.top
    with guarded(f"the parameters of {name} cannot be read", where=WHERE):
        signature = Signature.of(factory, attribute)
    return Net(
        name=name,
        summary=f"{attribute} from {place}",
        description=inspect.getdoc(factory) or "",
        build=_builder(factory, signature, name, given),
        takes=frozenset(signature.parameters),
    )


def _in_file(name: str) -> Callable[..., Any]:
    file, _, attribute = name.rpartition(":")
    with offline(file, WHERE):
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
        cure = did_you_mean(attribute, public)
        raise UserError(
            f"{file} has no net of this name", got=attribute, expected=expected, where=WHERE, cure=cure
        )
    return factory  # type: ignore[no-any-return]


def user_sources(name: str) -> dict[str, bytes]:
    """The file that a net's name points into, followed by those of its folder that it imports, by relative path.

    Of an installed package it is the file that has the factory.
    """
    if not model_path(name):
        return packages.load(name).sources()
    file = Path(model_path(name))
    found = sources.sources(file)
    own = file.resolve().name
    return {own: found.pop(own), **found}


def package_of(name: str) -> dict[str, str]:
    """The installed package that a network comes from, with its version; empty for one of a file."""
    if model_path(name):
        return {}
    package = packages.load(name)
    return {package.top: package.version()}


def refresh_sources(name: str) -> None:
    """Reads a net's file anew if it or what it imports has changed since this process loaded it."""
    if model_path(name):
        sources.refresh(Path(model_path(name)))


def starts(name: str) -> dict[object, str]:
    """What this process remembers of a file: of each network that it built the hash of its initial weights, and how it
    was called."""
    return sources.memory(Path(model_path(name))) if model_path(name) else packages.load(name).memory


def shared_state(name: str) -> dict[str, str]:
    """Numbers, arrays and generators at the top level of a net's files, and in their classes, as text."""
    found = {}
    own = sources.modules(Path(model_path(name))) if model_path(name) else [packages.load(name).module]
    for module in own:
        owners: dict[str, Any] = {module.__name__.rpartition(".")[2]: module}
        owners |= {
            k: v for k, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__
        }
        for owner, holder in owners.items():
            for key, value in list(vars(holder).items()):
                if not key.startswith("__") and isinstance(value, STATE):
                    found[f"{owner}.{key}"] = as_text(value)
    return found


def _constructor(error: BaseException) -> str:
    """The cure for a constructor that cannot be called."""
    if isinstance(error, TypeError) and "argument" in words_of(error):
        return f"parameters called {OFFERED}, as far as it needs them; others with defaults, or in model.args"
    if "not compiled with CUDA" in words_of(error):
        return "no .cuda() and no device of its own: regulab puts network and images on one device"
    return ""


def _builder(
    factory: Callable[..., Any], signature: Signature, name: str, always: Mapping[str, Any]
) -> Callable[[int, int, Norm, Model, tuple[int, int] | None], nn.Module]:
    def build(
        in_channels: int, classes: int, norm: Norm, model: Model, size: tuple[int, int] | None
    ) -> nn.Module:
        sizes = Sizes(in_channels, classes, size)
        refuse_args(signature, model, sizes)
        if always:
            refuse_downloads(model)
        given = {**always, **filled(signature, model, norm, sizes)}
        with guarded(f"{name} cannot be built", where=WHERE, expected=_constructor), offline(name, WHERE):
            net, given = called(factory, signature, given, model, sizes)
        if not isinstance(net, nn.Module):
            raise UserError(
                f"what {name} gives is not a network",
                got=type(net).__name__,
                expected="a torch.nn.Module",
                where=WHERE,
            )
        starts(name)["call", model] = as_called(signature.text.partition("(")[0], given, model)
        return unwrapped(net, name)

    return build


def how_called(model: Model) -> str:
    """With which arguments the last network of a model was built; empty where only regulab's own names were filled."""
    return starts(model.name).get(("call", model), "")


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
