"""``regulab init``: a study file to begin with, made for images that are there or with every key and its default."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from regulab.cli import completing
from regulab.cli.exits import guarded
from regulab.cli.options import Device
from regulab.errors import UserError, printable, unseen_characters
from regulab.process import signals

STUDY = Path("study.yaml")
ENDINGS = (".yaml", ".yml")
LONGEST_NAME = 80  # characters; a study's may have 100, and a run directory is called by it


@guarded
def init(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH",
            help="Images: a folder of class folders, a .csv of files and labels, or an .npz. "
            "Without them, the study file to write, with every key.",
            autocompletion=completing.images,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="The study file to write; default: called like PATH, in the working directory.",
        ),
    ] = None,
    device: Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Look at images and write a commented study of them; without images, one with every key and its default."""
    if path is None or (file is None and not _holds_images(path)):
        _write_template(path or STUDY, force)
    else:
        _suggest(path, file or _called_like(path), device, force)


def _holds_images(path: Path) -> bool:
    """Whether an argument alone names images that are there; else it names a study file, which ends as one."""
    from regulab.data import datasets
    from regulab.data.survey import format_at

    if format_at(path) is not None:
        return True
    if path.suffix.lower() not in ENDINGS:
        known = str(path) in datasets()
        raise UserError(
            "neither images that are there nor the name of a study file",
            got=str(path),
            expected="a folder of class folders, a .csv or .npz that is there, or a file to write that ends in .yaml",
            cure=f"for the dataset of that name: regulab run --data {path}" if known else "",
        )
    return False


def _called_like(path: Path) -> Path:
    """``photos.yaml`` for ``photos/``."""
    from regulab.files import file_name

    resolved = Path(os.path.realpath(path))
    name = (resolved.name if resolved.is_dir() else resolved.stem) or STUDY.stem
    if unseen_characters(name) or len(name) > LONGEST_NAME:
        name = file_name(name)[:LONGEST_NAME]
    return Path(f"{name}.yaml")


def _refuse_to_replace(file: Path, force: bool) -> None:
    if file.is_symlink() or file.exists():
        if file.is_dir():
            raise UserError("a folder, no file", got=str(file), expected="a study file to write")
        if not force:
            cure = "--force replaces it, FILE names another"
            raise UserError("the file is there already", got=str(file), cure=cure)


def _write(file: Path, text: str) -> None:
    from regulab.files import refusing, write_whole

    with signals.unwinding(), refusing(file):
        write_whole(file, text.encode())


def _write_template(file: Path, force: bool) -> None:
    from regulab.cli.study_template import study_file

    _refuse_to_replace(file, force)
    _write(file, study_file(file))
    print(file)


def _suggest(path: Path, file: Path, device: str, force: bool) -> None:
    """Looks at the images, writes the study, and says what was found and what a run will take."""
    from regulab.cli.survey_text import advice, survey_lines
    from regulab.config import build_study, parse_study
    from regulab.data import known_formats
    from regulab.data.reading_shown import reading_shown
    from regulab.data.survey import look
    from regulab.progress import reading_of
    from regulab.suggesting.choices import choose
    from regulab.suggesting.division import divide
    from regulab.suggesting.estimate import estimate
    from regulab.suggesting.study_text import study_text
    from regulab.terminal.progress_display import progress_for
    from regulab.training.machine import choose_machine

    _refuse_to_replace(file, force)
    progress = progress_for(quiet=False)
    with signals.unwinding(), reading_shown(reading_of(progress), progress.message):
        survey = look(path)
    division = divide(survey)
    resizable = "size" in known_formats()[survey.format].takes
    gpu = choose_machine(device, "auto", kernels=False).device.type != "cpu"
    choices = choose(survey, division, resizable=resizable, gpu=gpu)
    print("\n".join(survey_lines(survey, division, choices)))
    shown, data = printable(shlex.quote(str(file))), f"{survey.format}:{_from_file(path, file)}"
    text = study_text(survey, division, choices, file=shown, name=file.stem, data=data)
    study = build_study(parse_study(text, str(file))[0], str(file))  # refused before it is written
    _write(file, text)
    print(f"wrote       {printable(str(file))}", flush=True)
    with signals.unwinding():
        planned = estimate(study, survey, division, choices, device)
    print("\n".join(advice(planned, study, shown, survey)))


def _from_file(path: Path, file: Path) -> str:
    """The images' path as the study file says it: relative to the file."""
    folder = os.path.realpath(path.parent if path.name not in ("", "..") else path)
    target = os.path.join(folder, path.name) if path.name not in ("", "..") else folder
    relative = os.path.relpath(target, os.path.realpath(file.parent))
    return os.path.join(os.curdir, relative) if relative.startswith("~") else relative
