"""Arguments and options that several commands take, each with its help and what completes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regulab.cli import completing

RunFolder = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run directory, such as runs/l1-l2.")]
DataRoot = Annotated[
    Path | None, typer.Option(envvar="REGULAB_DATA", help="Where datasets lie; default: the cache folder.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1 …", autocompletion=completing.devices)]
