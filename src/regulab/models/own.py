"""A person's own network, from a Python file: ``model: {name: "nets.py:MyNet"}``."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from regulab.config import Model
from regulab.errors import UserError
from regulab.models.parts import Net, Norm

WHERE = "model.name"


def is_own(name: str) -> bool:
    """Whether a model's name points into a file."""
    return ".py:" in name


def own_net(name: str) -> Net:
    """The net that ``FILE.py:NAME`` names: an `nn.Module` class, or a function that returns a module.

    It is called with those of ``in_channels``, ``classes``, ``norm`` (a function from a number of channels
    to a layer), ``norm_position``, ``depth`` and ``dropout`` that it has parameters for. Its ``nn.Dropout``
    layers share their draws among arms like ours. Raises `UserError` where the file cannot be read or run,
    or holds no such net.
    """
    file, _, attribute = name.rpartition(":")
    module = _module(Path(file))
    factory = getattr(module, attribute, None)
    if not callable(factory):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        expected = f"one of {', '.join(public)}" if public else "a class or function"
        raise UserError(f"{file} has no net of this name", got=attribute, expected=expected, where=WHERE)
    return Net(
        name=name,
        summary=f"{attribute} from {file}",
        description=inspect.getdoc(factory) or "",
        build=_builder(factory, name),
        takes=frozenset(inspect.signature(factory).parameters),
    )


def own_source(name: str) -> bytes:
    """The bytes of the file that a net's name points into."""
    return Path(name.rpartition(":")[0]).read_bytes()


def _module(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError("no such file", got=str(path), expected="FILE.py:NAME of a network", where=WHERE)
    label = f"regulab_own_{path.stem}_{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    if label in sys.modules:
        return sys.modules[label]
    spec = importlib.util.spec_from_file_location(label, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[label] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[label]
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}", where=WHERE) from error
    return module


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
        accepted = inspect.signature(factory).parameters
        try:
            net = factory(
                **{key: value for key, value in offered.items() if key in accepted and value is not None}
            )
        except Exception as error:
            raise UserError(
                f"{name} cannot be built: {type(error).__name__}: {error}", where=WHERE
            ) from error
        if not isinstance(net, nn.Module):
            raise UserError(
                "not a network", got=type(net).__name__, expected="a torch.nn.Module", where=WHERE
            )
        return net

    return build
