"""The commands: parse, call, print. What takes long to import is imported where it is needed."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regulab import __version__
from regulab.cli import data, export, lesson, show
from regulab.cli.arguments import assembled
from regulab.cli.exits import AGAIN, FAILED_RUNS, FAULT, failure, guarded
from regulab.errors import UserError
from regulab.process import outputs, signals

if TYPE_CHECKING:
    from regulab.dry_run import Plan

app = typer.Typer(
    help="Train one image classifier under different regularizers, side by side, and learn which one helps.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
app.command("show")(show.show)
app.command("lesson")(lesson.lesson)
app.command("export")(export.export)

MAX_SEEDS = 40
RunFolder = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run directory, such as runs/l1-l2.")]


def main() -> None:
    """The program ``regulab``: exits with the code of its command, or 1 where results could not be written."""
    signals.catch()
    results = outputs.secure()
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    code: object = 0
    try:
        app(prog_name="regulab")
    except SystemExit as end:
        code = end.code
    outputs.flush()
    signals.ignore()
    if results.lost is not None and not code:
        code = FAULT
        if not isinstance(results.lost, BrokenPipeError):  # a reader that left, as `head` does, needs no word
            print(
                failure(f"the results could not be written: {results.lost.strerror}", "stdout"),
                file=sys.stderr,
            )
    sys.exit(code)  # type: ignore[arg-type]


def _version(asked: bool) -> None:
    if asked:
        print(f"regulab {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
@guarded
def run(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY] [KEY=VALUE …]",
            help="A YAML file or a built-in study (default l1-l2), and overrides such as train.epochs=5.",
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A dataset, or folder:PATH. Joins the study's name.")
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(envvar="REGULAB_DATA", help="Where datasets lie; default: the cache folder."),
    ] = None,
    arms: Annotated[str | None, typer.Option(help="Some of the study's arms: none,l1.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of every run.")] = None,
    seeds: Annotated[str | None, typer.Option(help="A count (5) or a list (0,3,7).")] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory; default: runs/<name>.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1 …")] = "auto",
    protocol: Annotated[str | None, typer.Option(help="holdout or course.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete what the run directory holds first.")
    ] = False,
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Add seeds until every arm is decided.")
    ] = False,
    max_seeds: Annotated[
        int | None, typer.Option(help=f"Where --until-decided stops; default {MAX_SEEDS}.", min=1)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no messages.")] = False,
) -> None:
    """Run a study, or go on with it: train, evaluate, compare, report."""
    if max_seeds is not None and not until_decided:
        raise UserError(
            "a limit of seeds to add, but none are added", expected="--until-decided", where="--max-seeds"
        )
    most = (max_seeds or MAX_SEEDS) if until_decided else None
    study, source = assembled(
        arguments or [], data=data, protocol=protocol, epochs=epochs, seeds=seeds, arms=arms
    )

    from regulab.cli.watching import Watched
    from regulab.data import data_root as found_root
    from regulab.dry_run import plan
    from regulab.files import file_name
    from regulab.study import run as run_study
    from regulab.terminal import progress_for
    from regulab.until_decided import check_limit, first_seeds
    from regulab.wording import named

    root = data_root or found_root()
    directory = out or Path("runs") / file_name(study.name)
    if dry_run:
        if most is not None:
            check_limit(study, most)
            study = study.model_copy(update={"seeds": first_seeds(study)})
        with source.locating(), signals.unwinding(), redirect_stdout(sys.stderr):
            planned = plan(study, data_root=root, device=device)
        _print_plan(planned, directory)
        if most is not None:
            print(f"then more seeds until every arm is decided, {most} at most")
        return
    begun = "give the same command again, without --fresh, to go on" if fresh else AGAIN
    progress = Watched(progress_for(tuple(study.arms), study.train.epochs, quiet=quiet), advice=begun)
    # What a person's network prints is a message, no result.
    with source.locating(), signals.unwinding(AGAIN), redirect_stdout(sys.stderr):
        outcome = run_study(
            study, directory, data_root=root, device=device, fresh=fresh, max_seeds=most, progress=progress
        )
    _print_comparison(outcome.directory)
    print(f"report: {outcome.report}")
    if outcome.diverged:
        lost = ", ".join(f"{named(arm)} seed {seed}" for arm, seed in outcome.diverged)
        print(f"diverged: {lost}", file=sys.stderr)
        raise typer.Exit(FAILED_RUNS)


@app.command()
@guarded
def report(run_dir: RunFolder) -> None:
    """Rebuild every figure, gallery and page of a run directory from its records."""
    from regulab.looking import record_first_look
    from regulab.reporting import write_report
    from regulab.run_directory.writing import RunDirectory, read_records

    with signals.unwinding("give the same command again"), RunDirectory.reopen(run_dir):
        # Locked, else an older report could replace that of a run which just ended.
        write_report(record_first_look(run_dir, read_records(run_dir)), run_dir)
    print(f"report: {run_dir / 'report.html'}")


@app.command()
@guarded
def compare(
    run_dir: RunFolder,
    baseline: Annotated[str | None, typer.Option(help="Another arm to compare with.")] = None,
    metric: Annotated[str | None, typer.Option(help="Another column of results.csv.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Compare the arms of a run directory: means, intervals, corrected tests, verdicts."""
    if not as_json:
        _print_comparison(run_dir, baseline, metric)
        return
    from regulab.looking import about_to_show
    from regulab.statistics import compare as compared

    with signals.unwinding():  # a first look is recorded
        records = about_to_show(run_dir)
    comparison = compared(records, baseline=baseline, metric=metric)
    print(json.dumps(comparison.to_json(), indent=2, ensure_ascii=False, allow_nan=False))


def _print_comparison(run_dir: Path, baseline: str | None = None, metric: str | None = None) -> None:
    from regulab.looking import about_to_show
    from regulab.statistics import compare as compared
    from regulab.terminal import output, print_comparison, print_training_notes

    with signals.unwinding():  # a first look is recorded
        records = about_to_show(run_dir)
    print_comparison(compared(records, baseline=baseline, metric=metric).to_json(), output())
    print_training_notes(records.environment, output())


def _print_plan(plan: Plan, directory: Path) -> None:
    from regulab.terminal import duration, size

    fleets = f"{len(plan.fleets)} fleet{'s' if len(plan.fleets) > 1 else ''}"
    print(f"{plan.runs} runs in {fleets}, into {directory}")
    for fleet in plan.fleets:
        print(f"fleet {fleet.index} ({fleet.engine}): {_runs_in_words(fleet.runs)}")
    print(f"memory: about {size(plan.memory_bytes)}")
    print(f"time: about {duration(plan.seconds)}")
    for note in plan.notes:
        print(note)


def _runs_in_words(runs: Sequence[tuple[str, int]]) -> str:
    """``arms “none”, “l1” × seeds 0–4`` where every arm has every seed, else one by one."""
    from regulab.terminal import number_ranges
    from regulab.wording import listed, named

    arms, seeds = list(dict.fromkeys(arm for arm, _ in runs)), sorted({seed for _, seed in runs})
    if len(runs) == len(arms) * len(seeds):
        return f"{listed(arms)} × {number_ranges(seeds, 'seed')}"
    return ", ".join(f"{named(arm)} seed {seed}" for arm, seed in runs)
