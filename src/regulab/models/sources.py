"""The file of a person's network, with what it imports from its own folder: loaded separately, remembered, hashed.

The folder becomes a package with a private name, so that networks of two folders never share a ``layers.py``, and torch
never meets a person's ``random.py``. Inside it, ``import layers`` and ``from .layers import block`` both find the
folder's file, even when a constructor or a forward pass imports it later.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from regulab.config.paths import given_path
from regulab.errors import UserError
from regulab.models.guard import guarded

WHERE = "model.name"
PREFIX = "_regulab_own_"
IMPORTS = "what it imports to be installed, or in the file's own folder"
LACKS = (
    "# This file does not run by itself: it lacks "  # begins a line of a given network that is not complete
)
MAIN = "network_file"  # what a file is called whose name no import could say
FIXED = frozenset(sys.stdlib_module_names) | frozenset(  # what no file of a folder can stand for
    [
        "regulab",
        "torch",
        "torchvision",
        "numpy",
        "scipy",
        "sklearn",
        "matplotlib",
        "pydantic",
        "yaml",
        "safetensors",
        "PIL",
    ]
)


class Folder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A network's file and its folder as a package ``name``: finder and loader of its modules, and their memory.

    What was loaded stays as it was, whatever becomes of the files: all runs of a command train one network. ``read``:
    the bytes of each file that was run, by its path; ``memory``: what its users keep for as long.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.path = file, file.parent
        self.name = PREFIX + hashlib.sha256(str(file).encode()).hexdigest()[:16]
        self.main = f"{self.name}.{file.stem if file.stem.isidentifier() else MAIN}"
        self.read: dict[Path, bytes] = {}
        self.memory: dict[object, str] = {}
        self._elsewhere: dict[str, ModuleType] = {}  # what the file found by its own entries in sys.path

    def load(self) -> ModuleType:
        """The module of the file. Raises `UserError` where it cannot be run."""
        package = ModuleType(self.name)
        package.__path__ = [str(self.path)]
        sys.modules[self.name] = package
        sys.meta_path.insert(0, self)
        before, paths = set(sys.modules), set(sys.path)
        try:
            with guarded(f"{self.file} cannot be imported", where=WHERE, expected=_cure, show=True):
                try:
                    return importlib.import_module(self.main)
                finally:
                    self._set_apart(before, [entry for entry in sys.path if entry not in paths])
        except BaseException:
            self.unload()
            raise

    def unload(self) -> None:
        """Forgets the modules; networks that were built of them live on."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name in [name for name in sys.modules if name == self.name or name.startswith(self.name + ".")]:
            del sys.modules[name]

    def _set_apart(self, before: set[str], added: Sequence[str]) -> None:
        """Modules that the file found by folders it put into ``sys.path`` are its own as well: hashed, and single files

        shared with nobody.
        """
        folders = [Path(entry).resolve() for entry in added]
        for name in [name for name in sys.modules if name not in before]:
            origin = getattr(sys.modules[name], "__file__", None)
            if not origin or not any(Path(origin).resolve().is_relative_to(folder) for folder in folders):
                continue
            path = Path(origin).resolve()
            self.read[path] = path.read_bytes()
            if path.suffix == ".py" and path.name != "__init__.py" and "." not in name:
                self._elsewhere[name] = sys.modules.pop(name)

    # The import system asks these.

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(self.name + "."):
            return None
        place = self.path.joinpath(*fullname.removeprefix(self.name + ".").split("."))
        file = self.file if fullname == self.main else source_of(place)
        if file is not None:
            spec = importlib.machinery.ModuleSpec(fullname, self, origin=str(file))
            spec.has_location = True
            if file.name == "__init__.py":
                spec.submodule_search_locations = [str(place)]
            return spec
        if place.is_dir():
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(place)]
            return spec
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Runs the file's bytes as they are now: a ``.pyc`` of the same second and size would be another file's."""
        assert module.__file__ is not None
        path = Path(module.__file__)
        content = path.read_bytes()
        code = compile(content, str(path), "exec", dont_inherit=True)
        self.read[path.resolve()] = content
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._import}
        exec(code, vars(module))

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """What ``import`` means in the folder's modules: its own files before what is installed, after the standard

        library and what regulab itself runs on.
        """
        if level == 0 and name in self._elsewhere:
            return self._elsewhere[name]
        top = name.partition(".")[0]
        if level == 0 and self.holds(top):
            full = f"{self.name}.{name}"
            if fromlist:
                return builtins.__import__(full, globals, locals, fromlist, 0)
            importlib.import_module(full)
            return sys.modules[f"{self.name}.{top}"]
        return builtins.__import__(name, globals, locals, fromlist or (), level)

    def holds(self, top: str) -> bool:
        """Whether ``import top`` means a file or package of the folder."""
        place = self.path / top
        if top in FIXED:
            return False
        return source_of(place) is not None or (place.is_dir() and not _installed(top))

    def sources(self) -> dict[str, bytes]:
        """The file and all that it imports from its folder, or would in a function not called yet, by relative path."""
        found = dict(self.read)
        waiting = list(found)
        while waiting:
            path = waiting.pop()
            for other in self._imports(path, found[path]):
                if other not in found:
                    found[other] = self.read.get(other) or other.read_bytes()
                    waiting.append(other)
        return {self._shown(path): content for path, content in sorted(found.items())}

    def _shown(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix() if path.is_relative_to(self.path) else path.as_posix()

    def changed(self) -> list[str]:
        """Which of the files that were run have changed."""
        return [
            self._shown(path)
            for path, content in self.read.items()
            if not path.is_file() or path.read_bytes() != content
        ]

    def _imports(self, path: Path, content: bytes) -> Iterator[Path]:
        """The folder's files that a source's import statements name, wherever in it they stand."""
        if not path.is_relative_to(self.path):
            return
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError, RecursionError):
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._files(self.path, alias.name.split("."), held=True)
            elif isinstance(node, ast.ImportFrom):
                base = path.parent
                for _ in range(node.level - 1):
                    base = base.parent
                words = node.module.split(".") if node.module else []
                for alias in node.names:
                    start = base if node.level else self.path
                    yield from self._files(start, [*words, alias.name], held=not node.level)

    def _files(self, base: Path, words: Sequence[str], held: bool) -> Iterator[Path]:
        """The sources that importing ``words`` from ``base`` runs: of each package on the way, and of the module."""
        if not base.is_relative_to(self.path) or (held and not self.holds(words[0])):
            return
        place = base
        for word in words:
            place = place / word
            file = source_of(place)
            if file is not None:
                yield file.resolve()


def _cure(error: BaseException) -> str:
    if isinstance(error, ImportError):
        return IMPORTS
    if isinstance(error, SystemExit | EOFError):
        return 'what a script does to stand under `if __name__ == "__main__":`'
    return ""


def source_of(place: Path) -> Path | None:
    """The file of a module at ``place``: ``place/__init__.py`` or ``place.py``, as Python looks for them."""
    for file in (place / "__init__.py", place.parent / f"{place.name}.py"):
        if file.is_file():
            return file
    return None


def _installed(top: str) -> bool:
    try:
        spec = importlib.machinery.PathFinder.find_spec(top)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


_folders: dict[
    Path, tuple[Folder, ModuleType]
] = {}  # what this process has loaded, for as long as nothing changes
held: dict[str, Folder] = {}  # what it was given from Python, by the path that stands for it


def load(file: Path) -> ModuleType:
    """The module of a network's file: the one loaded already, or as the file is now."""
    return _loaded(file)[1]


def sources(file: Path) -> dict[str, bytes]:
    """The sources of a network's file, by path relative to its folder, as they were loaded."""
    return _loaded(file)[0].sources()


def memory(file: Path) -> dict[object, str]:
    """What to remember about a network's file for as long as it stays loaded."""
    return _loaded(file)[0].memory


def modules(file: Path) -> list[ModuleType]:
    """The modules of a network's file and of its folder that are loaded."""
    if given_path(str(file)) in held:
        return [load(file)]
    prefix = _loaded(file)[0].name + "."
    return [module for name, module in list(sys.modules.items()) if name.startswith(prefix)]


def refresh(file: Path) -> None:
    """Forgets what was loaded, if any of its files has changed since: for the beginning of a study."""
    if given_path(str(file)) in held:
        return
    known = _folders.get(_place(file))
    if known is not None and known[0].changed():
        known[0].unload()
        del _folders[known[0].file]


def _loaded(file: Path) -> tuple[Folder, ModuleType]:
    if (given := held.get(given_path(str(file)))) is not None:
        return given, given.load()
    place = _place(file)
    if place not in _folders:
        folder = Folder(place)
        _folders[place] = (folder, folder.load())
    return _folders[place]


def _refuse_incomplete(file: Path) -> None:
    """Raises `UserError` for what a run directory keeps of a network that could not be written whole."""
    if not given_path(file.as_posix()):
        return
    with file.open(encoding="utf-8", errors="replace") as lines:
        lacks = next((line for line in [next(lines, ""), next(lines, "")] if line.startswith(LACKS)), "")
    if lacks:
        raise UserError(
            "this network was given from Python, and only a process that is given it again can build it",
            got=f"a file that lacks {lacks.removeprefix(LACKS).strip()}",
            expected="regulab.run with the same class and images, and this run directory as out",
            where=str(file),
        )


def _place(file: Path) -> Path:
    try:
        place = file.resolve()
        if place.is_file():
            _refuse_incomplete(file)
            return place
        kind = "a folder" if place.is_dir() else "no regular file" if place.exists() else "no such file"
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"no file that can be read ({error})", got=str(file), where=WHERE) from error
    raise UserError(kind, got=str(file), expected="FILE.py:NAME of a network", where=WHERE)
