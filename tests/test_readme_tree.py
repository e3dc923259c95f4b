"""The tree in the README names every module, and no module that is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import regulab

SOURCES = Path(regulab.__file__).parent
README = Path(__file__).parents[1] / "README.md"
NAME = re.compile(r"\b[A-Za-z_]\w*(?:\.py|\.c|\.h|/)")


def named_in(tree: str) -> set[str]:
    """Every file and folder that a tree names, by its path below its root.

    A line that begins with a folder opens it for the lines below that are indented further; other names, wherever in
    a line they stand, are of the folder that is open.
    """
    found, opened = set(), list[tuple[int, str]]()
    for line in tree.splitlines():
        indent = len(line) - len(line.lstrip())
        while opened and opened[-1][0] >= indent:
            opened.pop()
        where = opened[-1][1] if opened else ""
        names = NAME.findall(line)
        if line.split() and line.split()[0].endswith("/"):
            where += names.pop(0)
            found.add(where)
            opened.append((indent, where))
        found |= {where + name for name in names}
    return found


def modules() -> set[str]:
    """The modules of the package, and the folders of lessons in the place of what they hold."""
    lessons = {path.parent for path in SOURCES.glob("lessons/*/*/lesson.py")}
    files = [path for ending in ("py", "c", "h") for path in SOURCES.rglob(f"*.{ending}")]
    single = [path for path in files if path.name != "__init__.py" and path.parent not in lessons]
    return {str(path.relative_to(SOURCES)) for path in single} | {
        f"{folder.relative_to(SOURCES)}/" for folder in lessons
    }


def tree_of_readme() -> str:
    return re.search(r"^src/regulab/\n((?:  .*\n|\n)+)", README.read_text(), re.MULTILINE)[1]


def test_the_tree_names_every_module():
    assert len(modules()) > 250, "the modules are not where this test looks for them"
    missing = sorted(modules() - named_in(tree_of_readme()))
    assert not missing, f"name them in README.md, under “Where things are”: {', '.join(missing)}"


def test_the_tree_names_nothing_that_is_gone():
    assert sorted(name for name in named_in(tree_of_readme()) if not (SOURCES / name).exists()) == []


def test_the_tree_can_be_read_at_a_glance():
    lines = tree_of_readme().splitlines()
    assert len(lines) <= 210
    assert max(map(len, lines)) <= 128


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        ("  a.py, b.py    words of c\n", {"a.py", "b.py"}),
        ("  one/    ONE: a.py\n    two/    b.c,\n          c.h\n    d.py\n\n  e.py\n",
         {"one/", "one/a.py", "one/two/", "one/two/b.c", "one/two/c.h", "one/d.py", "e.py"}),
    ],
)  # fmt: skip
def test_how_a_tree_is_read(tree, names):
    assert named_in(tree) == names
