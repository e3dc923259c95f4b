"""``regulab show``: what there is, one line each; with a name, all about it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

from regulab.cli import completing
from regulab.cli.exits import guarded
from regulab.errors import UserError, did_you_mean


class Kind(StrEnum):
    """The kinds of things that ``show`` knows."""

    arms = "arms"
    techniques = "techniques"
    norms = "norms"
    models = "models"
    datasets = "datasets"
    studies = "studies"
    lessons = "lessons"
    optimizers = "optimizers"
    schedules = "schedules"
    exporters = "exporters"
    keys = "keys"


@guarded
def show(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=", ".join(Kind))],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="One of them, in full; for arms a study, built-in or a file; for keys also a section.",
            autocompletion=completing.names,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="CxHxW", help="With models NAME: count for images of channels×height×width."),
    ] = None,
) -> None:
    """Show what there is, or with NAME all about one: equation, parameters, source."""
    from regulab.cli import listing
    from regulab.cli.arguments import DEFAULT_STUDY

    if kind is Kind.arms:
        print("\n".join(listing.arms(name or DEFAULT_STUDY)))
        return
    if kind is Kind.keys:
        print("\n".join(listing.keys(name)))
        return
    if size is not None and (kind is not Kind.models or name is None):
        raise UserError("goes with a network alone", got=size, expected="show models NAME", where="--size")
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


def _print_lines(lines: Mapping[str, str]) -> None:
    width = max(map(len, lines), default=0)
    for name, summary in lines.items():
        print(f"{name:{width}}  {summary}")
