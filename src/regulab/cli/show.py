"""``regulab show``: what there is, one line each; with a name, all about it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from regulab.cli import completing
from regulab.cli.exits import guarded
from regulab.errors import UserError, did_you_mean
from regulab.process import signals


class Kind(StrEnum):
    """The kinds of things that ``show`` knows."""

    arms = "arms"
    techniques = "techniques"
    augmentation = "augmentation"
    norms = "norms"
    models = "models"
    datasets = "datasets"
    formats = "formats"
    studies = "studies"
    lessons = "lessons"
    optimizers = "optimizers"
    schedules = "schedules"
    exporters = "exporters"
    keys = "keys"


@guarded
def show(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=", ".join(Kind))],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="One of them, in full; for arms a study, built-in or a file; for keys also a section; for "
            "augmentation with --image a study and KEY=VALUE.",
            autocompletion=completing.names,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="CxHxW", help="With models NAME: count for images of channels×height×width."),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With augmentation: a picture, of which a sheet of samples is drawn."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The sheet, augmentation.png unless said otherwise.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a sheet that is there.")] = False,
) -> None:
    """Show what there is, or with NAME all about one: equation, parameters, source."""
    given = list(names or ())
    if kind is Kind.augmentation and (image or any("=" in word for word in given)):
        _draw_sheet(given, image, out or Path("augmentation.png"), force)
        return
    if image or out or force:
        option = "--image" if image else "--out" if out else "--force"
        raise UserError(
            "draws nothing here",
            got=option,
            expected="show augmentation --image FILE [--out FILE.png]",
            where=f"show {kind.value}",
        )
    if len(given) > 1:
        raise UserError(
            "one name at a time", got=" ".join(given), expected="NAME", where=f"show {kind.value}"
        )
    if size is not None and (kind is not Kind.models or not given):
        raise UserError("goes with a network alone", got=size, expected="show models NAME", where="--size")
    _print_about(kind, given[0] if given else None, size)


def _print_about(kind: Kind, name: str | None, size: str | None) -> None:
    from regulab.cli import augmentations, listing
    from regulab.cli.arguments import DEFAULT_STUDY

    if kind is Kind.arms:
        print("\n".join(listing.arms(name or DEFAULT_STUDY)))
        return
    if kind is Kind.keys:
        print("\n".join(listing.keys(name)))
        return
    if kind is Kind.augmentation and name is None:
        print(augmentations.overview())
        return
    if kind is Kind.techniques and name is None:
        print("\n".join(listing.techniques()))
        return
    entries = listing.CATALOGUES[kind]()
    if kind is Kind.models and name is not None and (":" in name or (size and name in entries)):
        print(listing.model(name, size))
        return
    if name is None:
        _print_lines({entry: summary for entry, (summary, _) in entries.items()})
        if not entries:
            print(f"there are no {kind.value} yet")
    elif name not in entries:
        listed = ", ".join(entries)
        expected = f"one of {listed}" if entries else f"nothing: there are no {kind.value} yet"
        cure = did_you_mean(name, entries)
        raise UserError("no such name", got=name, expected=expected, where=f"show {kind.value}", cure=cure)
    else:
        print(entries[name][1]())


def _draw_sheet(arguments: list[str], image: Path | None, out: Path, force: bool) -> None:
    """Of every operation, or of those that are named, or of a study's own settings where one is given."""
    from regulab.cli import listing
    from regulab.cli.arguments import assembled
    from regulab.cli.augmentation_sheet import sheet
    from regulab.files import refusing, write_whole

    if image is None:
        raise UserError(
            "settings are shown on a picture", got=" ".join(arguments), expected="--image FILE beside them"
        )
    if out.suffix.lower() != ".png":
        raise UserError("no name of a PNG", got=str(out), expected="FILE.png", where="--out")
    if not force and (out.exists() or out.is_symlink()):
        raise UserError(
            "the file is there already", got=str(out), cure="--force replaces it, --out names another"
        )
    if arguments and set(arguments) <= set(listing.CATALOGUES["augmentation"]()):
        content, notes = sheet(image, None, arguments)
    elif arguments:
        study, source = assembled(arguments)
        with source.locating():
            content, notes = sheet(image, study)
    else:
        content, notes = sheet(image, None)
    with signals.unwinding(), refusing(out):
        write_whole(out, content)
    for note in notes:
        print(note)
    print(out)


def _print_lines(lines: Mapping[str, str]) -> None:
    width = max(map(len, lines), default=0)
    for name, summary in lines.items():
        print(f"{name:{width}}  {summary}")
