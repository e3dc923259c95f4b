"""``regulab run``: from the command line to a study that is trained, compared and reported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regulab.cli import completing
from regulab.cli.compare import print_table
from regulab.cli.exits import AGAIN, DECLINED, FAILED_RUNS, guarded
from regulab.cli.options import DataRoot, Device
from regulab.errors import UserError
from regulab.process import signals

if TYPE_CHECKING:
    from regulab.config import Source, Study
    from regulab.dry_run import Plan
    from regulab.progress import Outcome

MAX_SEEDS = 40
MOST_LISTED = 32  # arms of a fleet in a dry run
OFTEN_LISTED = 6  # arms, of which more are listed once

Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[STUDY] [KEY=VALUE …]",
        help="A YAML file or a built-in study (default l1-l2), and overrides such as train.epochs=5.",
        autocompletion=completing.studies,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="A dataset, or images of yours: a folder, .csv or .npz. Joins the study's name.",
        autocompletion=completing.datasets,
    ),
]
Arms = Annotated[
    str | None, typer.Option(help="Some of the study's arms: none,l1.", autocompletion=completing.arms)
]
Epochs = Annotated[int | None, typer.Option(help="Epochs of every run.")]
Seeds = Annotated[str | None, typer.Option(help="A count (5) or a list (0,3,7).")]
Out = Annotated[Path | None, typer.Option(help="The run directory; default: runs/<name>.")]
Protocol = Annotated[str | None, typer.Option(help="holdout or course.", autocompletion=completing.protocols)]
Fresh = Annotated[bool, typer.Option("--fresh", help="Delete what the run directory holds first.")]
UntilDecided = Annotated[bool, typer.Option("--until-decided", help="Add seeds until every arm is decided.")]
MaxSeeds = Annotated[
    int | None, typer.Option(help=f"Where --until-decided stops; default {MAX_SEEDS}.", min=1)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and stop.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Train a large factorial without asking.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no messages.")]


@dataclass(frozen=True)
class Order:
    """What a person asked for."""

    study: Study
    source: Source
    directory: Path
    data_root: Path
    device: str
    most_seeds: int | None  # where adding seeds stops; None adds none


@guarded
def run(
    arguments: Arguments = None,
    data: Data = None,
    data_root: DataRoot = None,
    arms: Arms = None,
    epochs: Epochs = None,
    seeds: Seeds = None,
    out: Out = None,
    device: Device = "auto",
    protocol: Protocol = None,
    fresh: Fresh = False,
    until_decided: UntilDecided = False,
    max_seeds: MaxSeeds = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Run a study, or go on with it: train, evaluate, compare, report."""
    if max_seeds is not None and not until_decided:
        raise UserError(
            "a limit of seeds to add, but none are added", expected="--until-decided", where="--max-seeds"
        )
    from regulab.cli.arguments import assembled
    from regulab.data import data_root as found_root
    from regulab.files import file_name

    most = (max_seeds or MAX_SEEDS) if until_decided else None
    study, source = assembled(
        arguments or [], data=data, protocol=protocol, epochs=epochs, seeds=seeds, arms=arms
    )
    directory = out or Path("runs") / file_name(study.name)
    order = Order(study, source, directory, data_root or found_root(), device, most)
    if dry_run:
        tell_plan(order)
    else:
        if not yes:
            _ask_before_many_arms(order, fresh=fresh, quiet=quiet)
        _train(order, fresh=fresh, quiet=quiet)


def _train(order: Order, *, fresh: bool, quiet: bool) -> None:
    """Trains and prints the comparison; exits with 3 where runs diverged."""
    from regulab.cli.watching import GuardedProgress
    from regulab.study import run as run_study
    from regulab.terminal.progress_display import progress_for

    begun = "give the same command again, without --fresh, to go on" if fresh else AGAIN
    # What a person's network prints is a message, no result.
    with order.source.locating(), signals.unwinding(AGAIN), redirect_stdout(sys.stderr):
        outcome = run_study(
            order.study,
            order.directory,
            data_root=order.data_root,
            device=order.device,
            fresh=fresh,
            max_seeds=order.most_seeds,
            progress=GuardedProgress(progress_for(quiet=quiet), advice=begun),
        )
    _print_trials(order)
    print_table(outcome.directory)
    print(f"report: {outcome.report}")
    name_diverged(outcome)


def name_diverged(outcome: Outcome) -> None:
    from regulab.wording import named

    if outcome.diverged:
        lost = ", ".join(f"{named(arm)} seed {seed}" for arm, seed in outcome.diverged)
        print(f"diverged: {lost}", file=sys.stderr)
        raise typer.Exit(FAILED_RUNS)


def _ask_before_many_arms(order: Order, *, fresh: bool, quiet: bool) -> None:
    """A factorial grows faster than its file: of a large one size and time are told, and a person says yes."""
    from regulab.dry_run import many_arms, size_in_words

    if not many_arms(order.study, order.directory, fresh=fresh):
        return
    size = size_in_words(*_planned(order))
    if quiet or not _somebody_answers():
        raise UserError("a factorial of this size is asked about first", got=size, cure="--yes trains it all")
    if not typer.confirm(f"This factorial has {size}. Train it all?", err=True):
        print("nothing was trained", file=sys.stderr)
        raise typer.Exit(DECLINED)


def _somebody_answers() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _planned(order: Order) -> tuple[Study, Plan]:
    """The study as it is before the first look, and what it would take."""
    from regulab.data.reading_shown import reading_shown
    from regulab.dry_run import plan
    from regulab.progress import reading_of
    from regulab.terminal.progress_display import progress_for
    from regulab.until_decided import check_limit, first_seeds

    study = order.study
    if order.most_seeds is not None:
        check_limit(study, order.most_seeds)
        study = study.model_copy(update={"seeds": first_seeds(study)})
    with order.source.locating(), signals.unwinding(), redirect_stdout(sys.stderr):
        shown = progress_for(quiet=False)
        with reading_shown(reading_of(shown), shown.message):
            return study, plan(study, data_root=order.data_root, device=order.device)


def tell_plan(order: Order) -> None:
    """What the study would take; with seeds to be added, what comes before the first look."""
    from regulab.config.factors import in_words

    if order.study.tune is not None:
        _tell_trials(order)
    study, planned = _planned(order)
    if study.factors is not None:
        print(f"factors: {in_words(study.factors, study.baseline)}")
    _print_plan(planned, order.directory)
    if order.most_seeds is not None:
        print(f"then more seeds until every arm is decided, {order.most_seeds} at most")


def _tell_trials(order: Order) -> None:
    """What tuning would take, which comes first."""
    from regulab.tuning.places import trials_directory
    from regulab.tuning.trials import announced, trials_of

    trials = trials_of(order.study)
    for line in announced(order.study):
        print(line)
    tell_plan(replace(order, study=trials, directory=trials_directory(order.directory), most_seeds=None))
    print("then the study, with each arm at the trial that it chose:")


def _print_trials(order: Order) -> None:
    """Every trial of a study that was tuned here, before its comparison."""
    if order.study.tune is None:
        return
    from regulab.run_directory.reading import read_study
    from regulab.terminal.consoles import output
    from regulab.terminal.trials_table import print_trials

    tuned = read_study(order.directory).tuned
    assert tuned is not None, "a study with tune is recorded as what was tuned"
    print_trials(tuned, output())


def _print_plan(plan: Plan, directory: Path) -> None:
    from regulab.terminal.consoles import duration, size

    fleets = f"{len(plan.fleets)} fleet{'s' if len(plan.fleets) > 1 else ''}"
    print(f"{plan.runs} runs in {fleets}, into {directory}")
    first: dict[frozenset[str], int] = {}
    for fleet in plan.fleets:
        before = first.setdefault(frozenset(arm for arm, _ in fleet.runs), fleet.index)
        print(f"fleet {fleet.index} ({fleet.engine}): {_runs_in_words(fleet.runs, before, fleet.index)}")
    print(f"memory: about {size(plan.memory_bytes)}")
    print(f"time: about {duration(plan.seconds)}")
    for note in plan.notes:
        print(note)


def _runs_in_words(runs: Sequence[tuple[str, int]], before: int, fleet: int) -> str:
    """``arms “none”, “l1” × seeds 0–4`` where every arm has every seed, else one by one. Many arms are listed in the
    first fleet that has them, ``before``."""
    from regulab.terminal.consoles import number_ranges
    from regulab.wording import listed, named, quoted

    arms, seeds = list(dict.fromkeys(arm for arm, _ in runs)), sorted({seed for _, seed in runs})
    if len(runs) == len(arms) * len(seeds):
        some = (
            f"{len(arms)} arms, {quoted(arms[0])} … {quoted(arms[-1])}"
            if len(arms) > MOST_LISTED
            else listed(arms)
        )
        if len(arms) > OFTEN_LISTED and before != fleet:
            some = f"the {len(arms)} arms of fleet {before}"
        return f"{some} × {number_ranges(seeds, 'seed')}"
    return ", ".join(f"{named(arm)} seed {seed}" for arm, seed in runs)
