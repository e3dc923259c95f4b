"""The commands, one a file: parse, call, print. What takes long to import is imported where it is needed."""

from __future__ import annotations

from typing import Annotated

import typer

from regulab import __version__
from regulab.cli import (
    compact,
    compare,
    data,
    doctor,
    export,
    init,
    lesson,
    path,
    report,
    run,
    schema,
    show,
    tune,
)

app = typer.Typer(
    help="Train one image classifier under different regularizers, side by side, and learn which one helps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"regulab {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for command in (
    run.run,
    path.path,
    tune.tune,
    report.report,
    compare.compare,
    compact.compact,
    export.export,
    show.show,
    lesson.lesson,
    init.init,
    schema.schema,
    doctor.doctor,
):
    app.command()(command)
app.add_typer(data.app, name="data")
