"""``import regulab``: what it offers, to people, to editors and to type checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import regulab

TYPED = Path(__file__).parents[1] / "typed" / "public_names.py"


def typed_imports(path: Path) -> dict[str, str]:
    """name -> module, of the imports under ``if TYPE_CHECKING``."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            found = [one for one in node.body if isinstance(one, ast.ImportFrom)]
            assert all(alias.asname == alias.name for one in found[1:] for alias in one.names), "not exported"
            return {alias.name: str(one.module) for one in found for alias in one.names}
    raise AssertionError("no typed index")


def test_type_checkers_and_python_find_every_name_in_the_same_place():
    typed = typed_imports(Path(regulab.__file__))
    assert typed.pop("Any") == "typing"
    assert typed == regulab._MODULES
    assert set(typed) == set(regulab.__all__)


@pytest.mark.parametrize("name", sorted(regulab.__all__))
def test_every_name_is_there(name):
    found = getattr(regulab, name)
    assert name in dir(regulab)
    assert getattr(import_module(regulab._MODULES[name]), name) is found
    assert (found.__doc__ or "").strip(), "a public name says what it is"


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'rum'"):
        regulab.rum  # noqa: B018


def test_importing_regulab_or_reading_results_needs_no_torch():
    code = "import sys, regulab; assert 'pydantic' not in sys.modules; regulab.load; regulab.Results"
    code += "; sys.exit([name for name in ('torch', 'sklearn') if name in sys.modules] or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_typed_file_names_every_public_name():
    text = TYPED.read_text("utf-8")
    assert [name for name in regulab.__all__ if f"rl.{name}" not in text] == []


@pytest.mark.slow  # 20 s, most of them for the types of torch
def test_mypy_sees_the_types_of_the_public_names(tmp_path):
    options = ["--strict", "--follow-imports=silent", "--no-error-summary", "--cache-dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(TYPED)],
        cwd=TYPED.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
