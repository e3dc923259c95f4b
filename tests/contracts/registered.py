"""What every folder of registered parts promises: each of its files registers something."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any


def unregistered(package: str, kind: type, found: dict[str, type]) -> list[str]:
    """For each file of a package that registers nothing of ``kind``: its name, and what its classes lack."""
    problems = []
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        name = f"{package}.{module.name}"
        if name == kind.__module__ or any(one.__module__ == name for one in found.values()):
            continue
        own = [
            v for v in vars(importlib.import_module(name)).values() if getattr(v, "__module__", "") == name
        ]
        classes = [value for value in own if isinstance(value, type) and issubclass(value, kind)]
        problems += [lacking(one) for one in classes] or [f"{name} has no subclass of {kind.__name__}"]
    return problems


def lacking(kind: type[Any]) -> str:
    """Which methods a class must still define."""
    return f"{kind.__module__}.{kind.__name__} lacks {', '.join(sorted(kind.__abstractmethods__))}"
