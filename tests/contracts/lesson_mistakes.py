"""What is wrong with a lesson, in words that tell its author what to mend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from regulab.lessons.kit.lesson import Answer, Lesson, Values
from regulab.lessons.kit.result import FigureFile
from regulab.reporting.rendering import DOTS_PER_INCH

TESTS = Path(__file__).parents[1] / "lessons"
WIDTH = 1200  # dots of a figure, at least: two a pixel at the width of a README
LONGEST = 200  # characters of a sentence that is to be remembered


def in_what_it_says(lesson: Lesson) -> list[str]:
    """Mistakes that show before anything is measured."""
    mistakes = []
    if not lesson.takeaway:
        mistakes.append("no takeaway: give it `takeaway=`, the one sentence that a student remembers")
    elif not lesson.takeaway.endswith(".") or ". " in lesson.takeaway or len(lesson.takeaway) > LONGEST:
        mistakes.append(
            f"its takeaway is to be one sentence of at most {LONGEST} characters, with a full stop"
        )
    if not lesson.title or not lesson.sources:
        mistakes.append("no title or no sources: give it `title=` and `sources=`")
    if not lesson.claims:
        mistakes.append("no claims: give it `claims=`, each a sentence that numbers can contradict")
    for claim in lesson.claims:
        if not claim.statement.endswith("."):
            mistakes.append(f"the claim {claim.statement!r} is to be a sentence with a full stop")
        if "hold" not in claim.rule:
            mistakes.append(f"the rule of the claim {claim.statement!r} does not say when it holds")
    if "$$" not in lesson.text:
        mistakes.append("its text has no equation: write those that the experiment uses between `$$`")
    name = f"test_{lesson.name.replace('-', '_')}.py"
    if not list(TESTS.glob(f"*/{name}")):
        mistakes.append(
            f"no tests: write tests/lessons/<theme>/{name} with numbers that flip every answer, and the central fact on"
            " fresh inputs"
        )
    return _of(lesson, mistakes)


def in_judges(lesson: Lesson, values: Values) -> list[str]:
    """Mistakes of the judges on the numbers that the experiment gave."""
    mistakes = []
    for claim in lesson.claims:
        judge = f"the judge of the claim {claim.statement!r}"
        try:
            answer = claim.judge(values)
        except Exception as error:
            mistakes.append(
                f"{judge} raised {error!r}; it may use these numbers, which `measure` gave: {', '.join(values)}"
            )
        else:
            if not isinstance(answer, Answer):
                mistakes.append(f"{judge} gave {answer!r}; it is to give an `Answer`")
    return _of(lesson, mistakes)


def in_figures(lesson: Lesson, figures: Sequence[FigureFile], folder: Path) -> list[str]:
    """Mistakes of the figures as they were written, into ``folder``."""
    mistakes = [] if figures else ["no figure: `draw` is to give at least one"]
    for figure in figures:
        file = next(iter(figure.files.values()))
        if not figure.alternative.strip():
            mistakes.append(
                f"the figure {file} has no text for those who cannot see it: say in `alternative=` what it shows"
            )
        if not figure.caption.strip():
            mistakes.append(f"the figure {file} has no caption: say in `caption=` how to read it")
        for name in figure.files.values():
            with Image.open(folder / name) as image:
                if image.width < WIDTH:
                    mistakes.append(
                        f"the figure {name} is {image.width} dots wide, and is to be {WIDTH} at least, two a pixel at"
                        f" the width of a README: give it `figsize=({WIDTH / DOTS_PER_INCH:g}, …)` or more"
                    )
    return _of(lesson, mistakes)


def _of(lesson: Lesson, mistakes: list[str]) -> list[str]:
    return [f"lesson {lesson.name}: {mistake}" for mistake in mistakes]
