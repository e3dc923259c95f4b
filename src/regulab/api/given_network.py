"""``Study(model=…)``: a class or factory as Python has it, into a name that a study can have."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import Any

from torch import nn

from regulab.errors import UserError
from regulab.models import given

EXPECTED = (
    "a class, a function that returns a new network, a name of `regulab show models`, or 'FILE.py:NAME'"
)


def network_name(value: Any) -> str:
    """What stands in a study for a class or factory.

    What another process can import from a file is ``FILE.py:NAME``, as in a study file. Everything else, from a
    notebook or a program's main module, is ``given/HASH/NAME.py:NAME``: this process holds it, and the run directory
    keeps its source (`regulab.models.given`). Raises `UserError` for what builds no network.
    """
    if isinstance(value, nn.Module):
        raise UserError(
            "this is one network, and every run needs its own",
            got=type(value),
            expected=f"the class, {type(value).__name__}, or a function that returns a new one",
            where="model",
        )
    if not callable(value):
        raise UserError("no network", got=type(value), expected=EXPECTED, where="model")
    if inspect.isclass(value) and not issubclass(value, nn.Module):
        raise UserError(
            "a class of no networks", got=value, expected="a subclass of torch.nn.Module", where="model"
        )
    return _in_a_file(value) or given.hold(value)


def _in_a_file(value: Any) -> str:
    """``FILE.py:NAME`` of what stands at the top level of a module that is a file of its own; else empty."""
    name, module = getattr(value, "__qualname__", ""), sys.modules.get(str(getattr(value, "__module__", "")))
    file = getattr(module, "__file__", None)
    if (
        module is None
        or not file
        or not file.endswith(".py")
        or "." in module.__name__
        or module.__name__ == "__main__"
    ):
        return ""
    if not name.isidentifier() or getattr(module, name, None) is not value or not Path(file).is_file():
        return ""
    here = os.path.relpath(file)
    return f"{file if here.startswith(os.pardir) else here}:{name}"
