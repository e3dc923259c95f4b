"""Modules and functions stay short, and imports make no circles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

import regulab

SOURCES = Path(regulab.__file__).parent
MODULE_LINES, FUNCTION_LINES = 350, 50


def test_no_module_is_longer_than_one_reads_at_a_sitting():
    modules = [path for ending in ("py", "c", "h") for path in SOURCES.rglob(f"*.{ending}")]
    lengths = {str(path.relative_to(SOURCES)): len(path.read_text().splitlines()) for path in modules}
    assert len(lengths) > 300, "the modules are not where this test looks for them"
    assert {name: length for name, length in lengths.items() if length > MODULE_LINES} == {}


def test_no_function_is_longer_than_a_screen():
    lengths = dict(python_functions()) | dict(c_functions())
    assert "training/kernels/between.c backward" in lengths, "no C functions were found"
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES} == {}


def python_functions() -> Iterator[tuple[str, int]]:
    """Every function with its lines, from its first decorator's successor ``def`` to its last statement."""
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                name = f"{path.relative_to(SOURCES)}:{node.lineno} {node.name}"
                yield name, node.end_lineno - node.lineno + 1


C_FUNCTION = re.compile(
    r"^(?:static|INLINE|int)\b[^;{}=#]*?(\w+)\([^;{}#]*\) \{\n.*?^\}$", re.MULTILINE | re.DOTALL
)


def c_functions() -> Iterator[tuple[str, int]]:
    for ending in ("c", "h"):
        for path in (SOURCES / "training/kernels").glob(f"*.{ending}"):
            for match in C_FUNCTION.finditer(path.read_text()):
                yield f"{path.relative_to(SOURCES)} {match[1]}", match[0].count("\n") + 1


def test_a_name_means_one_class():
    """But for one that is the other and a little more, as the `Study` of Python is that of the file."""
    classes: dict[str, list[str]] = {}
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name not in {
                ast.unparse(b).split(".")[-1] for b in node.bases
            }:
                classes.setdefault(node.name, []).append(str(path.relative_to(SOURCES)))
    assert len(classes) > 200, "no classes were found"
    assert {name: places for name, places in classes.items() if len(places) > 1} == {}


def test_imports_make_no_circles():
    """Neither at the top of modules nor inside functions; the typed index imports nothing at run time."""
    graph = grimp.build_graph("regulab", exclude_type_checking_imports=True, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle of imports: {' → '.join(error.args[1])}") from None
