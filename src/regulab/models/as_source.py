"""A network that was given from Python as a file of its own: its source, and what that needs of the program around it.

Classes and functions of the same module are written out, those of installed packages are imported, plain values are
written as they are. Where something can be none of this (an array, an object, a local module, a function typed into
``exec``), the file says so and is kept for the reader: it does not run by itself.
"""

from __future__ import annotations

import ast
import builtins
import functools
import linecache
import math
import symtable
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from regulab.models.sources import FIXED, LACKS

HEADER = "# A network as regulab was given it from Python."
NAMELESS = "network"  # what a lambda or a partial is called in the file
PLAIN = (int, float, complex, str, bytes, bool, type(None))
MOST_CHARACTERS = 10_000  # of a plain value


@dataclass(frozen=True)
class Written:
    """A file's text, the name of the network in it, and the local files that it imports and lacks."""

    attribute: str
    text: str
    lacks: tuple[str, ...]
    local: Mapping[str, bytes]

    def content(self) -> bytes:
        """The file, which says in its second line what it lacks."""
        lacks = f"{LACKS}{', '.join(self.lacks)}\n" if self.lacks else ""
        return f"{HEADER}\n{lacks}{self.text}".encode()


def as_source(factory: Callable[..., Any]) -> Written:
    """The source of a class, a function, a lambda or a `functools.partial` of one of them."""
    source_file = _SourceFile(str(getattr(factory, "__module__", "")))
    name = getattr(factory, "__name__", NAMELESS)
    name = name if name.isidentifier() else NAMELESS
    source_file.add(name, factory)
    parts = ["\n".join(sorted(source_file.imports)), "\n".join(source_file.values), *source_file.chunks]
    text = "\n\n\n".join(part for part in parts if part) + "\n"
    return Written(name, text, tuple(source_file.lacks), source_file.local)


@dataclass
class _SourceFile:
    """What a file needs, in the order in which it must stand there."""

    module: str  # whose classes and functions are written out
    imports: set[str] = field(default_factory=set)
    values: list[str] = field(default_factory=list)
    chunks: list[str] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    local: dict[str, bytes] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, value: Any) -> None:
        """Sees to it that ``name`` means ``value`` in the file."""
        if name in self.known:
            if self.known[name] is not value:
                self.lacks.append(f"a second thing called {name}")
            return
        self.known[name] = value
        if isinstance(value, ModuleType):
            self._import_module(name, value)
        elif isinstance(value, functools.partial):
            self._add_partial(name, value)
        elif isinstance(value, type | FunctionType):
            self._add_definition(name, value)
        elif _is_plain(value):
            self.values.append(f"{name} = {value!r}")
        elif not self._import_named(name, value):
            self.lacks.append(f"{name} ({type(value).__name__})")

    def _import_module(self, name: str, module: ModuleType) -> None:
        self.imports.add(
            f"import {module.__name__} as {name}" if name != module.__name__ else f"import {name}"
        )
        self._note_local(module)

    def _note_local(self, module: ModuleType) -> None:
        """A module that is not installed is none of another process's."""
        file = getattr(module, "__file__", None)
        if not _installed(module):
            self.lacks.append(f"the module {module.__name__}")
            if file and file.endswith(".py") and Path(file).is_file():
                self.local[f"{module.__name__}.py"] = Path(file).read_bytes()

    def _import_named(self, name: str, value: Any) -> bool:
        """Imports a class, a function or another thing with a name from its module, if it is found there."""
        module = sys.modules.get(str(getattr(value, "__module__", "")))
        own = getattr(value, "__qualname__", getattr(value, "__name__", ""))
        if module is None or getattr(module, own, None) is not value:
            return False
        if module.__name__ == "__main__" or (module.__name__ == self.module and not _installed(module)):
            return False
        self.imports.add(f"from {module.__name__} import {own}" + (f" as {name}" if own != name else ""))
        self._note_local(module)
        return True

    def _add_partial(self, name: str, value: functools.partial[Any]) -> None:
        inner = getattr(value.func, "__name__", "inner")
        inner = inner if inner.isidentifier() else "inner"
        given = [*value.args, *value.keywords.values()]
        if not all(_is_plain(one) or isinstance(one, type | FunctionType) for one in given):
            self.lacks.append(f"the arguments of {name}")
        self.imports.add("import functools")
        self.add(inner, value.func)
        words = [self._argument(one) for one in value.args]
        words += [f"{key}={self._argument(one)}" for key, one in value.keywords.items()]
        self.chunks.append(f"{name} = functools.partial({', '.join([inner, *words])})")

    def _argument(self, value: Any) -> str:
        if isinstance(value, type | FunctionType) and value.__name__.isidentifier():
            self.add(value.__name__, value)
            return value.__name__
        return repr(value)

    def _add_definition(self, name: str, value: type | FunctionType) -> None:
        if self._import_named(name, value):
            return
        text = source_of(value)
        if text is None:
            self.lacks.append(f"the source of {name}")
            return
        around = _namespace(value)
        for needed in sorted(_free_names(text)):
            if needed in around and needed != value.__name__:
                self.add(needed, around[needed])
            elif needed != value.__name__ and not hasattr(builtins, needed):
                self.lacks.append(needed)
        own = value.__name__
        self.chunks.append(f"{name} = {text}" if own == "<lambda>" else text)
        if own not in ("<lambda>", name):
            self.chunks.append(f"{name} = {own}")


def source_of(value: type | FunctionType) -> str | None:
    """The text of a class, function or lambda as it was typed, wherever Python still has it: a file or a notebook."""
    code = value.__code__ if isinstance(value, FunctionType) else next(_codes(value), None)
    if code is None:
        return None
    lines = linecache.getlines(code.co_filename)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError, RecursionError):
        return None
    found = [node for node in ast.walk(tree) if _is_definition(node, value, code)]
    if not found:
        return None
    if isinstance(found[0], ast.Lambda):
        texts = {f"({ast.unparse(node)})" for node in found}
        return texts.pop() if len(texts) == 1 else None
    node = found[-1]
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return textwrap.dedent("".join(lines[_first_line(node) - 1 : node.end_lineno])).rstrip()


def _codes(kind: type) -> Iterator[CodeType]:
    """The code of the methods that a class defines."""
    for value in vars(kind).values():
        inner = getattr(value, "__func__", getattr(value, "fget", value))
        code = getattr(inner, "__code__", None)
        if isinstance(code, CodeType) and getattr(inner, "__qualname__", "").startswith(
            kind.__qualname__ + "."
        ):
            yield code


def _first_line(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _is_definition(node: ast.AST, value: type | FunctionType, code: CodeType) -> bool:
    """Whether a node defines a class or function: by its name and the lines of its code."""
    if isinstance(value, type):
        inside = isinstance(node, ast.ClassDef) and node.lineno <= code.co_firstlineno <= (
            node.end_lineno or 0
        )
        return inside and getattr(node, "name", "") == value.__name__
    if isinstance(node, ast.Lambda):
        return value.__name__ == "<lambda>" and node.lineno == code.co_firstlineno and _same_code(node, code)
    named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == value.__name__
    return named and isinstance(node, ast.FunctionDef) and _first_line(node) == code.co_firstlineno


def _same_code(node: ast.Lambda, code: CodeType) -> bool:
    """Tells the lambdas of one line apart. One with names of a function around it has other instructions by itself."""
    compiled = compile(ast.Expression(node), "", "eval")
    inner = next((one for one in compiled.co_consts if isinstance(one, CodeType)), None)
    if inner is None:
        return False
    consts = [[one for one in each.co_consts if not isinstance(one, CodeType)] for each in (inner, code)]
    names = {*inner.co_names}, {*code.co_names, *code.co_freevars}
    same = consts[0] == consts[1] and names[0] == names[1] and inner.co_varnames == code.co_varnames
    return same and (bool(code.co_freevars) or inner.co_code == code.co_code)


def _namespace(value: type | FunctionType) -> dict[str, Any]:
    """What the names of a definition mean: those of its module, and of the functions around it."""
    functions = [value] if isinstance(value, FunctionType) else _methods(value)
    module = sys.modules.get(value.__module__)
    around = dict(vars(module)) if module is not None else {}
    for function in functions:
        around |= function.__globals__
    for function in functions:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if name != "__class__":
                try:
                    around[name] = cell.cell_contents
                except ValueError:  # not assigned yet
                    continue
    return around


def _methods(kind: type) -> list[FunctionType]:
    return [value for value in vars(kind).values() if isinstance(value, FunctionType)]


def _free_names(text: str) -> set[str]:
    """The names that a definition takes from around it."""
    found: set[str] = set()
    waiting = [symtable.symtable(text, "", "exec")]
    while waiting:
        table = waiting.pop()
        top = table.get_type() == "module"
        found |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (symbol.is_global() or (top and not symbol.is_assigned()))
        }
        waiting += table.get_children()
    return found - {"__class__"}


def _is_plain(value: Any) -> bool:
    """Whether Python reads ``repr(value)`` back as the same."""
    if isinstance(value, float | complex) and type(value) in PLAIN:
        return math.isfinite(abs(value))
    if type(value) in PLAIN:
        return len(repr(value)) <= MOST_CHARACTERS
    if type(value) in (tuple, list, dict, set, frozenset):
        if len(value) > MOST_CHARACTERS or (type(value) in (set, frozenset) and len(value) != 1):
            return False  # a set's order is another in another process
        inner = [*value, *value.values()] if isinstance(value, dict) else [*value]
        return all(_is_plain(one) for one in inner) and len(repr(value)) <= MOST_CHARACTERS
    return False


def _installed(module: ModuleType) -> bool:
    """Whether another process finds the module too: of Python itself, or of an installed package."""
    top = module.__name__.partition(".")[0]
    file = getattr(module, "__file__", None)
    if top in FIXED or file is None:
        return True
    paths = sysconfig.get_paths()
    places = [Path(paths[key]).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return any(Path(file).resolve().is_relative_to(place) for place in places)
