from __future__ import annotations

import pytest

from regulab.lessons import lessons
from regulab.lessons.kit.lesson import Answer, Measured
from regulab.lessons.kit.page import _prose, github_equations
from regulab.lessons.kit.run_lesson import Occasion, Told


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
    told = Told(
        lesson=lesson,
        measured=measured,
        answers=[meaning[a] for a in answers],
        pictures=[],
        occasion=Occasion(seconds=1, measured=""),
    )
    assert told.tally == words
