"""Networks that were given from Python: held by this process, and kept in the run directory by a hash of their source.

A study names one as ``given/HASH/NAME.py:NAME``, a path in its run directory. A process that was handed the class
builds that; any other one runs the file, if it is complete.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from regulab.config.paths import GIVEN, given_path, model_path
from regulab.models import sources
from regulab.models.as_source import Written, as_source

DIGITS = 16  # of the hash in the name


class GivenNetwork(sources.Folder):
    """A class or factory in memory, in the place of a file that has it."""

    def __init__(self, path: str, factory: Callable[..., Any], written: Written) -> None:
        super().__init__(Path(path))
        self.written = written
        # Of the name of the factory's own module: what that class keeps from network to network is then watched.
        self.module = ModuleType(str(getattr(factory, "__module__", None) or "__main__"))
        setattr(self.module, written.attribute, factory)

    def load(self) -> ModuleType:
        return self.module

    def sources(self) -> dict[str, bytes]:
        """The source, and that of the local modules which it imports."""
        return {self.file.name: self.written.content(), **self.written.local}

    def changed(self) -> list[str]:
        return []


def hold(factory: Callable[..., Any]) -> str:
    """Keeps a class or factory for as long as this process lives; the name that a study has for it."""
    written = as_source(factory)
    digest = hashlib.sha256(written.content())
    for name, content in sorted(written.local.items()):
        digest.update(f"\x1f{name}\x1f".encode() + content)
    path = f"{GIVEN}/{digest.hexdigest()[:DIGITS]}/{written.attribute}.py"
    sources.held[path] = GivenNetwork(path, factory, written)
    return f"{path}:{written.attribute}"


def written(name: str) -> Written | None:
    """How the network of this name was written, if this process was handed it."""
    folder = sources.held.get(given_path(model_path(name)))
    return folder.written if isinstance(folder, GivenNetwork) else None


def remarks(name: str) -> list[str]:
    """What a person should know of a network that could not be written whole."""
    found = written(name)
    if found is None or not found.lacks:
        return []
    lacks = ", ".join(found.lacks)
    return [
        f"the network came from Python, and its file lacks {lacks}: it goes on only where it is given again"
    ]


@contextmanager
def readable(name: str) -> Iterator[str]:
    """A name under which another process can build the network; empty where there is none."""
    found = written(name)
    if found is None:
        yield name
    elif found.lacks:
        yield ""
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{found.attribute}.py"
            file.write_bytes(found.content())
            yield f"{file}:{found.attribute}"
