"""``regulab lesson``: runs lessons, prints claims, numbers and answers, and writes figures and a page."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regulab.cli import completing
from regulab.cli.exits import guarded
from regulab.cli.options import Device
from regulab.errors import UserError
from regulab.process import signals

if TYPE_CHECKING:
    from regulab.lessons.lesson import Lesson

ALL = "all"


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
    out: Annotated[Path, typer.Option(help="The folder for page, figures and numbers.")] = Path(
        "runs/lessons"
    ),
    device: Device = "auto",
    again: Annotated[
        bool,
        typer.Option(
            "--judge-again", help="Train nothing: judge the numbers that lie in --out by today's rules."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages.")] = False,
) -> None:
    """Run a lesson, or all of them: the claim, the measured numbers, the answer, the figure."""
    from regulab.cli.progress_display import progress_for
    from regulab.cli.terminal import output
    from regulab.data import data_root as found_root
    from regulab.files import refusing
    from regulab.lessons import lessons
    from regulab.lessons.laboratory import Laboratory
    from regulab.lessons.page import write_page
    from regulab.lessons.printing import print_lesson
    from regulab.lessons.telling import retell, tell

    chosen = _chosen(lessons(), name, image)
    with refusing(out), tempfile.TemporaryFile(dir=_made(out)):
        pass  # what cannot be written is said before minutes of training
    told = []
    with signals.unwinding(), tempfile.TemporaryDirectory(prefix="regulab-lesson-") as scratch:
        for one in chosen:
            if again:
                told.append(retell(one, out))
                print_lesson(told[-1], output())
                continue
            if not quiet:
                print(f"lesson {one.name}", file=sys.stderr, flush=True)
            laboratory = Laboratory(
                scratch=Path(scratch) / one.name,
                data_root=data_root or found_root(),
                data=data,
                image=image if one.takes_image else None,
                device=device,
                progress=progress_for(quiet=quiet),
            )
            told.append(tell(one, laboratory, out))
            print_lesson(told[-1], output())
        page = write_page(told, out, "index" if name == ALL else name)
    print(f"page: {page}")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _chosen(found: dict[str, Lesson], name: str, image: Path | None) -> list[Lesson]:
    if name != ALL and name not in found:
        raise UserError(
            "no such lesson", got=name, expected=f"all, or one of {', '.join(found)}", where="lesson"
        )
    chosen = list(found.values()) if name == ALL else [found[name]]
    if image is not None and not any(one.takes_image for one in chosen):
        takers = ", ".join(one.name for one in found.values() if one.takes_image)
        raise UserError(f"lesson {name} looks at no picture", expected=f"one of {takers}", where="--image")
    return chosen
