"""What every registered lesson promises; the slow ones run each lesson on the embedded data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from regulab.lessons import lessons
from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Answer
from regulab.lessons.kit.page import html, markdown
from regulab.lessons.kit.run_lesson import tell
from regulab.reporting.theme import THEMES

LESSONS = lessons()
SECONDS = 60


@pytest.fixture(params=LESSONS)
def lesson(request):
    return LESSONS[request.param]


def test_it_has_claims_with_rules_an_explanation_with_equations_and_sources(lesson):
    assert lesson.title
    assert lesson.claims
    for claim in lesson.claims:
        assert claim.statement.endswith(".")
        assert "hold" in claim.rule
    assert "$$" in lesson.text
    assert lesson.sources


def test_its_rules_are_tested(lesson):
    file = Path(__file__).parents[1] / "lessons" / f"test_{lesson.name.replace('-', '_')}.py"
    assert file.exists(), "numbers that flip the answer, and the central fact on fresh inputs"


def test_each_has_a_place_of_its_own_on_the_page():
    orders = [lesson.order for lesson in LESSONS.values()]
    assert len(set(orders)) == len(orders)
    assert orders == sorted(orders)


@pytest.mark.slow
def test_it_runs_on_the_embedded_data(lesson, tmp_path):
    laboratory = Laboratory(scratch=tmp_path / "scratch", data_root=tmp_path, data="digits")
    told = tell(lesson, laboratory, tmp_path)
    content = json.loads((tmp_path / f"{lesson.name}.json").read_text("utf-8"))
    values = {key: number["value"] for key, number in content["numbers"].items()}
    answers = [claim["answer"] for claim in content["claims"]]
    assert answers == lesson.answers(values), "an answer follows from the numbers that are printed"
    assert set(answers) <= set(Answer)
    assert content["findings"]
    assert told.pictures
    for shown in told.pictures:
        assert shown.alternative
        for theme in THEMES:
            with Image.open(tmp_path / shown.files[theme.name]) as image:
                assert image.width >= 1200, "two dots a pixel at the width of a README"
    page = html([told], "").decode()
    assert "<math" in page
    assert "$" not in page.split("</style>")[1], "an equation that was not set"
    readme = markdown([told], "").decode()
    assert readme.count("<picture>") == len(told.pictures)
    assert "```math" in readme
    assert "$$" not in readme
    assert told.occasion.seconds is not None
    assert told.occasion.seconds < SECONDS
