"""``regulab compact``: from exact zeros to a smaller network with the same predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from regulab.cli import completing
from regulab.cli.exits import guarded
from regulab.cli.options import DataRoot, RunFolder
from regulab.process import signals


@guarded
def compact(
    run_dir: RunFolder,
    arm: Annotated[
        str, typer.Option(metavar="ARM", help="Whose network.", autocompletion=completing.arms_of_directory)
    ],
    seed: Annotated[int | None, typer.Option(help="Of which seed; default: the study's first.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder to write to; default: RUN_DIR/compact/ARM/seed-N."),
    ] = None,
    fold_batch_norm: Annotated[
        bool, typer.Option("--fold-batch-norm", help="Write batch norms into the layer before them.")
    ] = False,
    data_root: DataRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """From exact zeros to a smaller network: remove what has no effect, check its predictions, measure, save."""
    from regulab.compacting import compact_run
    from regulab.data import data_root as default_root
    from regulab.run_directory.reading import read_study
    from regulab.terminal.compaction import print_compaction
    from regulab.terminal.consoles import output

    chosen = read_study(run_dir).seeds[0] if seed is None else seed
    with signals.unwinding():
        found = compact_run(
            run_dir,
            arm,
            chosen,
            data_root=default_root() if data_root is None else data_root,
            out=out,
            fold_batch_norm=fold_batch_norm,
        )
    if as_json:
        print(json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    print_compaction(found.to_json(), str(found.folder), output())
