"""A lesson with a mistake is named in words that tell its author what to mend."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from regulab.lessons import lessons
from regulab.lessons.kit.lesson import Answer
from regulab.lessons.kit.result import FigureFile
from tests.contracts import lesson_mistakes

RIGHT = lessons()["batch-norm"]
FIGURE = FigureFile(
    files={"light": "figures/x-light.png"}, caption="How to read it.", alternative="What it shows."
)


def with_judge(judge):
    return replace(RIGHT, claims=[replace(RIGHT.claims[0], judge=judge)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"takeaway": ""}, "no takeaway: give it `takeaway=`"),
        ({"takeaway": "No full stop"}, "one sentence"),
        ({"takeaway": "One. Two."}, "one sentence"),
        ({"takeaway": "x" * 200 + "."}, "one sentence"),
        ({"sources": ()}, "no sources"),
        ({"claims": ()}, "no claims"),
        ({"claims": [replace(RIGHT.claims[0], statement="So")]}, "'So' is to be a sentence"),
        ({"claims": [replace(RIGHT.claims[0], rule="if so")]}, "does not say when it holds"),
        ({"text": "no equation"}, "no equation"),
        ({"name": "untested"}, "write tests/lessons/<theme>/test_untested.py"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_what_it_says(change, words):
    assert lesson_mistakes.in_what_it_says(RIGHT) == []
    (mistake,) = lesson_mistakes.in_what_it_says(replace(RIGHT, **change))
    assert mistake.startswith(f"lesson {change.get('name', 'batch-norm')}: ")
    assert words in mistake


def test_a_judge_that_raises_or_gives_no_answer():
    values = {"mean": 0.1}
    assert lesson_mistakes.in_judges(with_judge(lambda _: Answer.HOLDS), values) == []
    (mistake,) = lesson_mistakes.in_judges(with_judge(lambda v: Answer(v["deviation"])), values)
    assert mistake == (
        f"lesson batch-norm: the judge of the claim {RIGHT.claims[0].statement!r} raised KeyError('deviation'); it may"
        " use these numbers, which `measure` gave: mean"
    )
    (mistake,) = lesson_mistakes.in_judges(with_judge(lambda _: True), values)
    assert "gave True; it is to give an `Answer`" in mistake


def test_a_figure_without_text_one_that_is_too_small_and_no_figure(tmp_path):
    def mistakes(*figures):
        return lesson_mistakes.in_figures(RIGHT, figures, tmp_path)

    (tmp_path / "figures").mkdir()
    Image.new("L", (1200, 4)).save(tmp_path / "figures" / "x-light.png")
    assert mistakes(FIGURE) == []
    (mistake,) = mistakes(replace(FIGURE, alternative=" "))
    assert "figures/x-light.png has no text for those who cannot see it: say in `alternative=`" in mistake
    (mistake,) = mistakes(replace(FIGURE, caption=""))
    assert "no caption" in mistake
    (mistake,) = mistakes()
    assert "no figure" in mistake
    Image.new("L", (1199, 4)).save(tmp_path / "figures" / "x-light.png")
    (mistake,) = mistakes(FIGURE)
    assert "x-light.png is 1199 dots wide" in mistake
    assert "figsize=(7.5, …)" in mistake
