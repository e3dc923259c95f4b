"""``regulab compare``: the statistical table of a run directory, of several, or of several datasets; or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from regulab.cli import completing
from regulab.cli.exits import guarded
from regulab.errors import UserError
from regulab.process import signals

DATASET = "dataset"


RunFolders = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN_DIR …", help="A run directory, such as runs/l1-l2, or several of one test set."
    ),
]


@guarded
def compare(
    run_dir: RunFolders,
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
    by: Annotated[
        str | None,
        typer.Option(
            help="dataset: rank the arms over the datasets of several directories.",
            autocompletion=completing.divisions,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="With --by dataset: a folder for the diagram, Markdown and JSON.")
    ] = None,
    fail_if: Annotated[
        str | None,
        typer.Option(
            help="Exit with 3 where an arm has this verdict (worse,undecided), or none can be given.",
            autocompletion=completing.verdicts,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Compare the arms of run directories: means, intervals, corrected tests, verdicts."""
    from regulab.cli.failing import fail_where, refuse_nothing_to_judge, verdicts_to_fail

    failing = verdicts_to_fail(fail_if)
    if by is not None:
        _by_dataset(run_dir, by, metric=metric, baseline=baseline, out=out, fail_if=fail_if, as_json=as_json)
        return
    if out is not None:
        raise UserError("a folder for what is not made", expected="--by dataset", where="--out")
    comparison, environment, lines = _compared(run_dir, baseline, metric)
    if failing:
        refuse_nothing_to_judge(comparison)
    if as_json:
        print(json.dumps(comparison, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print(comparison, environment, lines)
    fail_where(comparison, failing)


def print_table(run_dir: Path, baseline: str | None = None, metric: str | None = None) -> None:
    """The comparison for people, with what was notable in training below it, and last the answer."""
    _print(*_compared([run_dir], baseline, metric))


def _compared(
    directories: Sequence[Path], baseline: str | None, metric: str | None
) -> tuple[dict[str, Any], Mapping[str, Any], list[str]]:
    """The mapping of ``compare --json``, the environment of a single study, and what tuning adds to its verdicts."""
    from regulab.looking import about_to_show
    from regulab.records import FIXED
    from regulab.statistics import compare as compared
    from regulab.statistics.across import compare_across
    from regulab.statistics.same_test_set import members_of, refuse_same_twice
    from regulab.statistics.tuned import procedure_lines

    refuse_same_twice(directories)
    with signals.unwinding():  # a first look is recorded
        found = [(path, about_to_show(path)) for path in directories]
    if len(found) > 1:
        return compare_across(members_of(found), baseline=baseline, metric=metric).to_json(), {}, []
    records = found[0][1]
    comparison = compared(records, baseline=baseline, metric=metric)
    trials = (records.study.get("tuned") or {}).get("trials", 0)
    lines = procedure_lines(comparison.tuning, comparison.metric, trials)
    if comparison.rule != FIXED:
        lines = [f"{line}; as if the number of seeds had been fixed beforehand" for line in lines]
    return comparison.to_json(), records.environment, lines


def _print(comparison: Mapping[str, Any], environment: Mapping[str, Any], lines: list[str]) -> None:
    from regulab.terminal.comparison_table import (
        print_answer,
        print_comparison,
        print_lines,
        print_training_notes,
        print_warnings,
    )
    from regulab.terminal.consoles import output

    print_comparison(comparison, output())
    print_lines(lines, output())
    print_training_notes(environment, output())
    print_warnings(comparison, output())
    if comparison["answer"] is not None:
        print_answer(comparison, output())


def _by_dataset(
    directories: Sequence[Path],
    by: str,
    *,
    metric: str | None,
    baseline: str | None,
    out: Path | None,
    fail_if: str | None,
    as_json: bool,
) -> None:
    """Average ranks over datasets; exits with 0, as ranks are no verdicts."""
    from regulab.looking import about_to_show
    from regulab.statistics.datasets import by_dataset
    from regulab.statistics.same_test_set import members_of, refuse_same_twice

    if by != DATASET:
        raise UserError("nothing to rank by", got=by, expected=DATASET, where="--by")
    for option, given in (("--baseline", baseline), ("--fail-if", fail_if)):
        if given is not None:
            raise UserError(
                "has no effect: ranks compare all arms with each other and give no verdicts",
                got=given,
                expected="nothing beside --by dataset",
                where=option,
            )
    refuse_same_twice(directories)
    with signals.unwinding():
        found = [(path, about_to_show(path)) for path in directories]
    ranked = by_dataset(members_of(found), metric=metric)
    if out is not None:
        from regulab.reporting.critical_difference import write_ranks

        write_ranks(ranked, out)
    if as_json:
        print(json.dumps(ranked.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    from regulab.terminal.consoles import output
    from regulab.terminal.ranks_table import print_ranks

    print_ranks(ranked, output())
    if out is not None:
        print(f"written: {out}")
