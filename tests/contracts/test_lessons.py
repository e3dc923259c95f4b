"""What every registered lesson promises; the slow ones run each lesson on the embedded data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from regulab.lessons import lessons
from regulab.lessons.kit.judging_again import stored_result
from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Answer, Lesson, Measured
from regulab.lessons.kit.page import html, markdown
from regulab.lessons.kit.result import LessonResult
from regulab.lessons.kit.run_lesson import run_lesson
from regulab.reporting.theme import THEMES
from tests.contracts import lesson_mistakes

LESSONS = lessons()
PAGE = Path(__file__).parents[2] / "docs" / "lessons"
SECONDS = 60


@pytest.fixture(params=LESSONS)
def lesson(request) -> Lesson:
    return LESSONS[request.param]


def refuse(mistakes: list[str]) -> None:
    if mistakes:
        pytest.fail("\n".join(mistakes), pytrace=False)


def test_it_has_a_takeaway_claims_with_rules_an_explanation_sources_and_tests(lesson):
    refuse(lesson_mistakes.in_what_it_says(lesson))


def test_its_place_on_the_page_is_its_own(lesson):
    same = [name for name, other in LESSONS.items() if other.order == lesson.order and other is not lesson]
    assert not same, (
        f"lesson {lesson.name}: give it another `order=`, for {lesson.order} is that of {same[0]}"
    )


def test_the_page_in_the_repository_has_it_with_answers_and_figures_for_all(lesson):
    if not (PAGE / f"{lesson.name}.json").exists():
        pytest.fail(
            f"lesson {lesson.name}: not on the page; `regulab lesson {lesson.name} --out docs/lessons` measures it,"
            " `regulab lesson all --out docs/lessons --judge-again` makes the page",
            pytrace=False,
        )
    numbers = json.loads((PAGE / f"{lesson.name}.json").read_text("utf-8"))["numbers"]
    refuse(lesson_mistakes.in_judges(lesson, {key: number["value"] for key, number in numbers.items()}))
    refuse(lesson_mistakes.in_figures(lesson, stored_result(lesson, PAGE).figures, PAGE))


def run_and_name_mistakes(lesson: Lesson, laboratory: Laboratory, out: Path) -> LessonResult:
    """Runs a lesson; a judge that raises is named."""
    measured: list[Measured] = []

    def measure(laboratory: Laboratory) -> Measured:
        measured.append(lesson.measure(laboratory))
        return measured[-1]

    try:
        return run_lesson(replace(lesson, measure=measure), laboratory, out)
    except Exception:
        if measured:
            refuse(lesson_mistakes.in_judges(lesson, measured[0].values))
        raise


def test_a_judge_that_raises_while_the_lesson_runs_is_named(tmp_path):
    def no_figures(_measured, _theme):
        return []

    broken = replace(
        LESSONS["batch-norm"],
        measure=lambda _: Measured(numbers={}, evidence=None, conditions="", findings=""),
        draw=no_figures,
    )
    laboratory = Laboratory(scratch=tmp_path, data_root=tmp_path, data="digits")
    with pytest.raises(pytest.fail.Exception, match="lesson batch-norm: the judge of the claim"):
        run_and_name_mistakes(broken, laboratory, tmp_path)


@pytest.mark.slow
def test_it_runs_on_the_embedded_data(lesson, tmp_path):
    laboratory = Laboratory(scratch=tmp_path / "scratch", data_root=tmp_path, data="digits")
    result = run_and_name_mistakes(lesson, laboratory, tmp_path)
    content = json.loads((tmp_path / f"{lesson.name}.json").read_text("utf-8"))
    values = {key: number["value"] for key, number in content["numbers"].items()}
    answers = [claim["answer"] for claim in content["claims"]]
    assert answers == lesson.answers(values), "an answer follows from the numbers that are printed"
    assert set(answers) <= set(Answer)
    assert content["findings"]
    refuse(lesson_mistakes.in_figures(lesson, result.figures, tmp_path))
    assert all(figure.files.keys() == {theme.name for theme in THEMES} for figure in result.figures)
    page = html([result], "").decode()
    assert "<math" in page
    assert "$" not in page.split("</style>")[1], "an equation that was not set"
    readme = markdown([result], "").decode()
    assert readme.count("<picture>") == len(result.figures)
    assert "```math" in readme
    assert "$$" not in readme
    assert result.occasion.seconds is not None
    assert result.occasion.seconds < SECONDS
