"""What a folder registers is found without a list: values in its modules, and in its folders if they are asked for."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from regulab.registry import catalogue


@dataclass(frozen=True, eq=False)
class Part:
    name: str


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with one part in a module, one in a folder's folder, which the folder's other module also imports."""
    folder = tmp_path / "registered_parts"
    (folder / "theme" / "lesson").mkdir(parents=True)
    for place in (folder, folder / "theme", folder / "theme" / "lesson"):
        (place / "__init__.py").write_text("")
    head = "from tests.test_registry import Part\n"
    (folder / "flat.py").write_text(head + "FLAT = Part('flat')\n")
    (folder / "theme" / "lesson" / "value.py").write_text(head + "DEEP = Part('deep')\n")
    (folder / "theme" / "user.py").write_text("from registered_parts.theme.lesson.value import DEEP\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "registered_parts"
    for name in [name for name in sys.modules if name.startswith("registered_parts")]:
        del sys.modules[name]


def test_a_folders_modules_and_with_folders_those_below(package):
    assert list(catalogue(package, Part)) == ["flat"]
    assert list(catalogue(package, Part, folders=True)) == ["flat", "deep"]
