"""Finds what a folder registers: every value or class of some kind that its modules define.

A new technique, optimizer, schedule, norm, net, dataset or lesson is one new file; no list is edited.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

from regulab.errors import UserError, did_you_mean


def catalogue(package: str, kind: type, *, folders: bool = False) -> dict[str, Any]:
    """Instances and concrete subclasses of ``kind`` that modules of ``package`` define, by ``.name``.

    Modules are read in alphabetical order, values in the order of their definition. With ``folders`` the modules in
    the package's folders are read too, however deep.
    """
    walk = pkgutil.walk_packages if folders else pkgutil.iter_modules
    paths = importlib.import_module(package).__path__
    found: dict[str, Any] = {}
    for module_info in sorted(walk(paths, f"{package}."), key=lambda m: m.name):
        module = importlib.import_module(module_info.name)
        for value in vars(module).values():
            if isinstance(value, type):
                ours = value.__module__ == module.__name__ and issubclass(value, kind) and value is not kind
                ours = ours and not inspect.isabstract(value)
            else:
                ours = isinstance(value, kind)
            if ours and value not in found.values():
                cure = f"{module_info.name}.py of {package}: give {getattr(value, '__name__', value)} a name"
                assert isinstance(getattr(value, "name", None), str), f'{cure}, `name: ClassVar[str] = "…"`'
                assert value.name not in found, f"{package} registers {value.name!r} twice"
                found[value.name] = value
    return found


def lookup(found: dict[str, Any], name: str, what: str, where: str = "") -> Any:
    """The entry called ``name``; raises `UserError` that lists what there is."""
    if name not in found:
        raise UserError(
            f"unknown {what}",
            got=name,
            expected="one of " + ", ".join(found),
            where=where,
            cure=did_you_mean(name, found),
        )
    return found[name]
