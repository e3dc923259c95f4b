"""An answer that rests on an undecided test is `not shown here`; kept numbers are judged again without training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.errors import UserError
from regulab.lessons import lessons
from regulab.lessons.kit.judging_again import judge_again, stored_result
from regulab.lessons.kit.lesson import Answer, graded
from regulab.lessons.kit.occasions import read_occasions

PAGES = Path(__file__).parents[2] / "docs" / "lessons"
HOLDS, IN_PART, NOT_HERE, NOT_SHOWN = Answer


@pytest.mark.parametrize(
    ("holds", "in_part", "tests", "answer"),
    [
        (True, False, ["undecided"], HOLDS),
        (False, True, ["lower", "undecided"], IN_PART),
        (False, False, ["undecided", "undecided"], NOT_SHOWN),
        (False, False, ["higher", "undecided"], NOT_SHOWN),
        (False, False, ["higher", "worse"], NOT_HERE),
        (False, False, [], NOT_HERE),
    ],
)
def test_what_is_not_decided_is_not_refuted(holds, in_part, tests, answer):
    assert graded(holds, in_part, tests=tests) == answer


def kept(name: str) -> dict:
    return json.loads((PAGES / f"{name}.json").read_text())


@pytest.mark.parametrize("name", sorted(lessons()))
def test_no_claim_is_refuted_or_half_held_by_tests_that_are_all_undecided(name):
    lesson = lessons()[name]
    values = {key: one["value"] for key, one in kept(name)["numbers"].items()}
    before = lesson.answers(values)
    words = {"better", "worse", "equivalent", "higher", "lower", "flatter", "sharper", "undecided"}
    undecided = {
        key: "undecided"
        if value in words
        else ", ".join(f"{part.split()[0]} undecided" for part in value.split(", "))
        if isinstance(value, str) and value.split()[-1] in words
        else 0.5
        if key.endswith("_p")
        else value
        for key, value in values.items()
    }
    changed = [place for place, answer in enumerate(lesson.answers(undecided)) if answer != before[place]]
    for place in changed:
        assert lesson.answers(undecided)[place] == NOT_SHOWN


@pytest.mark.parametrize("name", sorted(lessons()))
def test_the_answers_in_the_repository_are_those_of_todays_rules(name):
    content, lesson = kept(name), lessons()[name]
    values = {key: one["value"] for key, one in content["numbers"].items()}
    answers = lesson.answers(values)
    assert [one["answer"] for one in content["claims"]] == [str(answer) for answer in answers]
    assert [one["rule"] for one in content["claims"]] == [claim.rule for claim in lesson.claims]
    assert content["tally"] == stored_result(lesson, PAGES).tally
    assert content["takeaway"] == lesson.takeaway


def test_the_page_in_the_repository_is_what_its_numbers_make(tmp_path):
    out = tmp_path / "lessons"
    out.mkdir()
    for file in PAGES.glob("*.*"):
        if file.suffix in (".json", ".csv"):
            shutil.copy(file, out / file.name)
    answer = CliRunner().invoke(app, ["lesson", "all", "--judge-again", "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    assert sorted(file.name for file in out.iterdir()) == sorted(
        file.name for file in PAGES.iterdir() if file.is_file()
    )
    for file in out.iterdir():
        assert file.read_bytes() == (PAGES / file.name).read_bytes(), file.name


def test_what_was_not_measured_cannot_be_judged_again(tmp_path):
    lesson = lessons()["batch-norm"]
    with pytest.raises(UserError, match="nothing was measured here yet"):
        judge_again(lesson, tmp_path)
    (tmp_path / "batch-norm.json").write_text("[]")
    with pytest.raises(UserError, match=r"batch-norm\.json"):
        judge_again(lesson, tmp_path)
    content = kept("batch-norm")
    content["numbers"] = {}
    (tmp_path / "batch-norm.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="lacks a number that a rule asks for"):
        judge_again(lesson, tmp_path)
    (tmp_path / "measured.csv").write_text("lesson,seconds\nbatch-norm,soon\n")
    with pytest.raises(UserError, match=r"measured\.csv: damaged"):
        read_occasions(tmp_path)
