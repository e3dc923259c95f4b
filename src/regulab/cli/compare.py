"""``regulab compare``: the statistical table of a run directory, or the same as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from regulab.cli import completing
from regulab.cli.exits import guarded
from regulab.cli.options import RunFolder
from regulab.process import signals


@guarded
def compare(
    run_dir: RunFolder,
    baseline: Annotated[
        str | None,
        typer.Option(help="Another arm to compare with.", autocompletion=completing.arms_of_directory),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Another column of results.csv, nll, ece, brier, top_5_accuracy …",
            autocompletion=completing.metrics,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Compare the arms of a run directory: means, intervals, corrected tests, verdicts."""
    if not as_json:
        print_table(run_dir, baseline, metric)
        return
    from regulab.looking import about_to_show
    from regulab.statistics import compare as compared

    with signals.unwinding():  # a first look is recorded
        records = about_to_show(run_dir)
    comparison = compared(records, baseline=baseline, metric=metric)
    print(json.dumps(comparison.to_json(), indent=2, ensure_ascii=False, allow_nan=False))


def print_table(run_dir: Path, baseline: str | None = None, metric: str | None = None) -> None:
    """The comparison for people, with what was notable in training below it, and last the answer."""
    from regulab.looking import about_to_show
    from regulab.statistics import compare as compared
    from regulab.statistics.tuned import procedure_lines
    from regulab.terminal.comparison_table import (
        print_answer,
        print_comparison,
        print_lines,
        print_training_notes,
        print_warnings,
    )
    from regulab.terminal.consoles import output

    with signals.unwinding():  # a first look is recorded
        records = about_to_show(run_dir)
    found = compared(records, baseline=baseline, metric=metric)
    comparison = found.to_json()
    print_comparison(comparison, output())
    print_lines(procedure_lines(records, found), output())
    print_training_notes(records.environment, output())
    print_warnings(comparison, output())
    print_answer(comparison, output())
