"""A network from an installed package: ``timm:resnet18``, ``torchvision:resnet18``, ``package.module:factory``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from regulab.errors import UserError, did_you_mean
from regulab.models.guard import guarded
from regulab.models.offline import offline

WHERE = "model.name"
HUBS = {"timm": "timm", "torchvision": "torchvision.models"}  # what their short names stand for
PRETRAINED: dict[str, dict[str, Any]] = {
    "timm": {"pretrained": False},
    "torchvision": {"weights": None},
}  # what they are told
SHOWN = 12


@dataclass
class Package:
    """A factory with the module that has it. ``given``: what it is always called with, ``open``: it takes any name."""

    name: str
    factory: Callable[..., Any]
    module: ModuleType
    given: Mapping[str, Any] = field(default_factory=dict)
    memory: dict[object, str] = field(default_factory=dict)

    @property
    def top(self) -> str:
        return self.module.__name__.partition(".")[0]

    def version(self) -> str:
        """The version of what was installed; a hash of the package's sources where there is none, or where it was
        installed as a link (``pip install -e``) to a folder that may change under one version."""
        names = metadata.packages_distributions().get(self.top, ())
        if names and not _is_linked(metadata.distribution(names[0])):
            return metadata.version(names[0])
        digest = hashlib.sha256()
        for path, content in _sources(sys.modules[self.top]).items():
            digest.update(f"\x1f{path}\x1f".encode() + content)
        return f"sha256:{digest.hexdigest()}"

    def sources(self) -> dict[str, bytes]:
        """The source of the factory's own module."""
        file = getattr(self.module, "__file__", None)
        return {file: Path(file).read_bytes()} if file and file.endswith(".py") else {}


_known: dict[str, Package] = {}


def load(name: str) -> Package:
    """The factory that ``PACKAGE:NAME`` names. Raises `UserError` where it is not installed or has no such factory."""
    if name not in _known:
        _known[name] = _loaded(name)
    return _known[name]


def _loaded(name: str) -> Package:
    place, _, attribute = name.partition(":")
    words = [*place.split("."), *attribute.split(".")]
    if not attribute or (place not in HUBS and not all(word.isidentifier() for word in words)):
        expected = "FILE.py:NAME, timm:NAME, torchvision:NAME or package.module:NAME"
        raise UserError("no name of a network", got=name, expected=expected, where=WHERE)
    module = _imported(HUBS.get(place, place), name)
    given = PRETRAINED.get(place, {})
    if place == "timm":
        _refuse_unknown(attribute, module)
        return Package(name, partial(module.create_model, attribute), module, given)
    return Package(name, _attribute(module, attribute, name), module, given)


def _imported(place: str, name: str) -> ModuleType:
    top = place.partition(".")[0]
    if top not in sys.modules and importlib.util.find_spec(top) is None:
        raise UserError(
            f"the package {top} is not installed",
            got=name,
            expected="FILE.py:NAME for a file, or a package that is installed",
            where=WHERE,
            cure=_cure(top, place, name),
        )
    problem = f"{place} cannot be imported"
    with guarded(problem, where=WHERE, show=True), offline(place, WHERE):
        return importlib.import_module(place)


def _cure(top: str, place: str, name: str) -> str:
    file = f"{place.replace('.', '/')}.py"
    if Path(file).is_file():
        return f"did you mean {file}:{name.partition(':')[2]}?"
    return f"pip install {top}"


def _attribute(module: ModuleType, attribute: str, name: str) -> Callable[..., Any]:
    found: Any = module
    for word in attribute.split("."):
        found = getattr(found, word, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    options = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    raise _unknown(attribute, options, module.__name__)


def _refuse_unknown(attribute: str, module: ModuleType) -> None:
    """A tag after a point, ``resnet18.a1_in1k``, names pretrained weights."""
    with guarded("timm cannot list its networks", where=WHERE):
        known, options = module.is_model(attribute.partition(".")[0]), list(module.list_models())
    if not known:
        raise _unknown(attribute, options, "timm")


def _unknown(attribute: str, options: list[str], place: str) -> UserError:
    more = f" and {len(options) - SHOWN} more" if len(options) > SHOWN else ""
    return UserError(
        f"{place} has no network of this name",
        got=attribute,
        expected=f"one of {', '.join(options[:SHOWN])}{more}" if options else "a class or function of it",
        where=WHERE,
        cure=did_you_mean(attribute, options),
    )


def _is_linked(distribution: metadata.Distribution) -> bool:
    """Whether a folder of its developer is imported: PEP 610 has that in ``direct_url.json``."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))


def _sources(module: ModuleType) -> dict[str, bytes]:
    file = getattr(module, "__file__", None)
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*.py"))
    }
    return found or ({Path(file).name: Path(file).read_bytes()} if file else {})
