from __future__ import annotations

from regulab.lessons import lessons
from regulab.lessons.page import _prose, github_equations


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
