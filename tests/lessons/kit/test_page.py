from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.errors import UserError
from regulab.lessons import lessons
from regulab.lessons.kit.judging_again import stored_result
from regulab.lessons.kit.lesson import Answer, Measured
from regulab.lessons.kit.occasions import Occasion
from regulab.lessons.kit.page import _prose, github_equations, html, markdown, write_page
from regulab.lessons.kit.result import LessonResult

PAGE = Path(__file__).parents[3] / "docs" / "lessons"


def test_equations_in_the_syntax_that_github_takes_as_it_stands():
    text = "So $a\\,b$ and\n\n$$x = \\{1,\\; 2\\} .$$\n\nand $`c`$, costs nothing."
    assert github_equations(text) == (
        "So $`a\\,b`$ and\n\n\n```math\nx = \\{1,\\; 2\\} .\n```\n\n\nand $`c`$, costs nothing."
    )


def test_no_equation_of_any_lesson_is_left_over():
    for lesson in lessons().values():
        assert "$$" not in github_equations(lesson.text), lesson.name
        assert "$" not in _prose(lesson.text), lesson.name
        assert lesson.text.count("$$") % 2 == 0


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ("hhh", "3 of 3 claims hold"),
        ("hin", "1 of 3 claims hold, 1 in part"),
        ("nn", "0 of 2 claims hold"),
        ("hiun", "1 of 4 claims hold, 1 in part, 1 not shown"),
    ],
)
def test_the_tally_counts_claims(answers, words):
    meaning = {"h": Answer.HOLDS, "i": Answer.IN_PART, "n": Answer.NOT_HERE, "u": Answer.NOT_SHOWN}
    lesson = next(iter(lessons().values()))
    measured = Measured(numbers={}, evidence=None, conditions="", findings="")
    result = LessonResult(
        lesson=lesson,
        measured=measured,
        answers=[meaning[a] for a in answers],
        figures=[],
        occasion=Occasion(seconds=1, measured=""),
    )
    assert result.tally == words


def test_a_lesson_begins_with_its_takeaway_then_its_figure_then_the_numbers():
    result = stored_result(lessons()["l1-sparse"], PAGE)
    for page in (html([result], ""), markdown([result], "")):
        text = page.decode().split("</style>")[-1]
        parts = [
            "and removes some real ones",
            "3 of 4 claims hold",
            result.figures[0].files["light"],
            "Found here",
            "noise inputs removed by Lasso at that",
            "selects features: it removes",
            "Sources",
        ]
        places = [text.index(part) for part in parts]
        assert places == sorted(places), list(zip(parts, places, strict=True))


def test_no_lesson_is_told_by_one_word_for_all_its_claims():
    results = [stored_result(lesson, PAGE) for lesson in lessons().values()]
    for page in (html(results, "").decode(), markdown(results, "").decode()):
        contents = page[page.index("Lessons") :].split(results[0].lesson.claims[0].statement)[0]
        for result in results:
            assert result.tally in contents
        for answer in Answer:
            assert f"**{answer}**" not in contents
            assert f">{answer}<" not in contents


@pytest.fixture
def without_latex2mathml(monkeypatch):
    """As it is where ``regulab[lessons]`` is not installed: rich brings markdown-it-py, nobody the others."""
    for module in [name for name in sys.modules if name.split(".")[0] in ("latex2mathml", "mdit_py_plugins")]:
        monkeypatch.delitem(sys.modules, module)
    for module in ("latex2mathml", "mdit_py_plugins"):
        monkeypatch.setitem(sys.modules, module, None)


def test_without_the_extra_html_says_what_to_install_and_the_rest_is_there(without_latex2mathml, tmp_path):
    result = stored_result(lessons()["l1-sparse"], PAGE)
    with pytest.raises(UserError, match=r"mdit-py-plugins, latex2mathml; pip install 'regulab\[lessons\]'"):
        html([result], "")
    assert write_page([result], tmp_path, "l1-sparse") == tmp_path / "l1-sparse.md"
    assert [file.name for file in tmp_path.iterdir()] == ["l1-sparse.md"]


def test_without_the_extra_the_command_prints_the_lesson_and_says_what_to_install(
    without_latex2mathml, tmp_path
):
    shutil.copy(PAGE / "l1-sparse.json", tmp_path)
    answer = CliRunner().invoke(app, ["lesson", "l1-sparse", "--judge-again", "--out", str(tmp_path)])
    assert answer.exit_code == 0
    assert "3 of 4 claims hold" in answer.stdout
    assert "mdit-py-plugins, latex2mathml: pip install 'regulab[lessons]'" in answer.stderr
    assert answer.stdout.rstrip().endswith("l1-sparse.md")
