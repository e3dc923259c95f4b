"""``regulab lesson``: runs lessons, prints claims, numbers and answers, and writes figures and a page."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regulab.cli import completing
from regulab.cli.exits import guarded
from regulab.cli.options import Device
from regulab.errors import UserError
from regulab.process import signals

if TYPE_CHECKING:
    from regulab.lessons.kit.laboratory import Laboratory
    from regulab.lessons.kit.lesson import Lesson
    from regulab.lessons.kit.result import LessonResult

ALL = "all"
FOLDER = Path("runs/lessons")


@guarded
def lesson(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="One of `regulab show lessons`, or all.",
            autocompletion=completing.lessons,
        ),
    ],
    image: Annotated[Path | None, typer.Option(help="Your own picture, for lessons about pictures.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="The dataset; default: MNIST where it is, else the digits.",
            autocompletion=completing.datasets,
        ),
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where datasets are; default: REGULAB_DATA.")] = None,
    out: Annotated[Path, typer.Option(help="The folder for page, figures and numbers.")] = FOLDER,
    device: Device = "auto",
    again: Annotated[
        bool,
        typer.Option(
            "--judge-again", help="Train nothing: judge the numbers that lie in --out by today's rules."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages.")] = False,
) -> None:
    """Run a lesson, or all of them: what to remember, the figure, the measured numbers, how many claims hold."""
    from regulab.data import data_root as default_data_root
    from regulab.files import refusing
    from regulab.lessons import lessons
    from regulab.lessons.kit.laboratory import Laboratory
    from regulab.terminal.progress_display import progress_for

    chosen = _chosen(lessons(), name, image)
    with refusing(out), tempfile.TemporaryFile(dir=_existing(out)):
        pass  # what cannot be written is said before minutes of training
    with signals.unwinding(), tempfile.TemporaryDirectory(prefix="regulab-lesson-") as scratch:
        laboratory = Laboratory(
            scratch=Path(scratch),
            data_root=data_root or default_data_root(),
            data=data,
            image=image,
            device=device,
            progress=progress_for(quiet=quiet),
        )
        results = _results(chosen, None if again else laboratory, out, quiet)
        _write_page(results, out, "index" if name == ALL else name, quiet)


def _results(
    chosen: Sequence[Lesson], laboratory: Laboratory | None, out: Path, quiet: bool
) -> list[LessonResult]:
    """What each lesson came to, printed as it comes: run in the laboratory; without one, judged again."""
    from regulab.lessons.kit.judging_again import judge_again
    from regulab.lessons.kit.run_lesson import run_lesson
    from regulab.lessons.kit.terminal import print_lesson
    from regulab.terminal.consoles import output

    results = []
    for lesson in chosen:
        if laboratory is None:
            result = judge_again(lesson, out)
        else:
            if not quiet:
                print(f"lesson {lesson.name}", file=sys.stderr, flush=True)
            own = replace(
                laboratory,
                scratch=laboratory.scratch / lesson.name,
                image=laboratory.image if lesson.takes_image else None,
            )
            result = run_lesson(lesson, own, out)
        print_lesson(result, output())
        results.append(result)
    return results


def _write_page(results: Sequence[LessonResult], out: Path, name: str, quiet: bool) -> None:
    from regulab.lessons.kit.page import INSTALL, missing_packages, write_page

    page = write_page(results, out, name)
    missing = missing_packages()
    if missing and not quiet:
        print(f"no HTML page, for it needs {', '.join(missing)}: {INSTALL}", file=sys.stderr)
    print(f"page: {page}")


def _existing(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _chosen(registered: dict[str, Lesson], name: str, image: Path | None) -> list[Lesson]:
    if name != ALL and name not in registered:
        raise UserError(
            "no such lesson", got=name, expected=f"all, or one of {', '.join(registered)}", where="lesson"
        )
    chosen = list(registered.values()) if name == ALL else [registered[name]]
    if image is not None and not any(lesson.takes_image for lesson in chosen):
        takers = ", ".join(lesson.name for lesson in registered.values() if lesson.takes_image)
        raise UserError(f"lesson {name} looks at no picture", expected=f"one of {takers}", where="--image")
    return chosen
