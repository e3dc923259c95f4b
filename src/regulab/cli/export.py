"""``regulab export``: the records of a run directory for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regulab.cli import completing
from regulab.cli.exits import guarded
from regulab.cli.options import RunFolder


@guarded
def export(
    run_dir: RunFolder,
    to: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="One of `regulab show exporters`.", autocompletion=completing.exporters
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The folder to write to; default: RUN_DIR/export/NAME.")
    ] = None,
) -> None:
    """Write the records of a run directory for another tool, such as a spreadsheet or TensorBoard."""
    from regulab.exporters import FOLDER
    from regulab.exporters import export as write

    written = write(run_dir, to, out)
    print(f"{len(written)} file{'s' if len(written) != 1 else ''} in {out or run_dir / FOLDER / to}")
