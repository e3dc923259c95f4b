"""``regulab path``: one technique at several strengths, and the strength that validation chooses."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regulab.cli import completing
from regulab.cli.exits import AGAIN, guarded
from regulab.cli.options import DataRoot, Device
from regulab.cli.run import (
    Arguments,
    Data,
    DryRun,
    Epochs,
    Fresh,
    Order,
    Out,
    Protocol,
    Quiet,
    Seeds,
    name_diverged,
    tell_plan,
)
from regulab.process import signals

if TYPE_CHECKING:
    from regulab.statistics.strength_path import StrengthPath

TechniqueName = Annotated[
    str,
    typer.Option("--technique", help="What is varied: l1, dropout …", autocompletion=completing.techniques),
]
Strengths = Annotated[
    str | None,
    typer.Option(help="A range, 3e-6..1e-2, or a list, 0,1e-5,1e-4; default: the technique's own range."),
]
Trials = Annotated[int | None, typer.Option(help="How many strengths the range has; default 9.")]
Arm = Annotated[
    str | None,
    typer.Option(help="An arm in which the technique is varied.", autocompletion=completing.arms),
]


@guarded
def path(
    technique: TechniqueName,
    arguments: Arguments = None,
    strengths: Strengths = None,
    trials: Trials = None,
    arm: Arm = None,
    data: Data = None,
    data_root: DataRoot = None,
    epochs: Epochs = None,
    seeds: Seeds = None,
    out: Out = None,
    device: Device = "auto",
    protocol: Protocol = None,
    fresh: Fresh = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Train one technique at several strengths, and see which one validation chooses."""
    from regulab.cli.arguments import assembled
    from regulab.data import data_root as found_root
    from regulab.files import file_name
    from regulab.path_study import path_study

    study, source = assembled(arguments or [], data=data, protocol=protocol, epochs=epochs, seeds=seeds)
    with source.locating():
        study, varied = path_study(study, technique, strengths, trials, arm)
    directory = out or Path("runs") / file_name(study.name)
    order = Order(study, source, directory, data_root or found_root(), device, None)
    if dry_run:
        tell_plan(order)
    else:
        _train(order, varied, fresh=fresh, quiet=quiet, as_json=as_json)


def _train(order: Order, varied: StrengthPath, *, fresh: bool, quiet: bool, as_json: bool) -> None:
    """Trains and prints what came of each strength; exits with 3 where runs diverged."""
    from regulab.cli.watching import GuardedProgress
    from regulab.statistics.strength_path import KEY
    from regulab.study import run as run_study
    from regulab.terminal.progress_display import progress_for

    begun = "give the same command again, without --fresh, to go on" if fresh else AGAIN
    with order.source.locating(), signals.unwinding(AGAIN), redirect_stdout(sys.stderr):
        outcome = run_study(
            order.study,
            order.directory,
            data_root=order.data_root,
            device=order.device,
            fresh=fresh,
            progress=GuardedProgress(progress_for(quiet=quiet), advice=begun),
            facts={KEY: varied.to_json()},
        )
    _print(outcome.directory, as_json=as_json)
    if not as_json:
        print(f"report: {outcome.report}")
    name_diverged(outcome)


def _print(directory: Path, *, as_json: bool) -> None:
    """The table of strengths, or the JSON of it."""
    from regulab.run_directory.reading import read_records
    from regulab.statistics.path_results import path_results
    from regulab.statistics.strength_path import path_of
    from regulab.terminal.comparison_table import print_training_notes
    from regulab.terminal.consoles import output
    from regulab.terminal.path_table import print_path

    records = read_records(directory)
    path = path_of(records)
    assert path is not None, "it was just trained as one"
    results = path_results(records, path)
    if as_json:
        print(json.dumps(results.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    print_path(records, results, f"{directory}/", output())
    print_training_notes(records.environment, output())
