"""Who trains the planned fleets, and where: one launcher a file."""

from __future__ import annotations

from regulab.launchers.launcher import Launcher
from regulab.registry import catalogue, lookup

__all__ = ["LAUNCHERS", "Launcher", "launcher_of"]

LAUNCHERS: dict[str, type[Launcher]] = catalogue("regulab.launchers", Launcher)


def launcher_of(name: str) -> Launcher:
    """The launcher called ``name``; raises `UserError` that lists what there is."""
    kind: type[Launcher] = lookup(LAUNCHERS, name, "launcher", "launcher")
    return kind()
