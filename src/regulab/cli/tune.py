"""``regulab tune``: every arm's strengths chosen on validation, and the study written that has them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regulab.cli.exits import AGAIN, guarded
from regulab.cli.options import DataRoot, Device
from regulab.cli.run import Arguments, Arms, Data, Epochs, Fresh, Quiet
from regulab.errors import UserError
from regulab.process import signals

if TYPE_CHECKING:
    from regulab.config import Source, Study

Trials = Annotated[int | None, typer.Option(help="Points that each arm tries; default 16.")]
Rule = Annotated[str | None, typer.Option(help="best (default) or one_standard_error.")]
Out = Annotated[Path | None, typer.Option(help="The study file to write; default: NAME-tuned.yaml.")]
TrialsFolder = Annotated[
    Path | None, typer.Option("--trials-dir", help="Where the trials are kept; default: runs/NAME-trials.")
]


@guarded
def tune(
    arguments: Arguments = None,
    trials: Trials = None,
    rule: Rule = None,
    data: Data = None,
    data_root: DataRoot = None,
    arms: Arms = None,
    epochs: Epochs = None,
    out: Out = None,
    trials_dir: TrialsFolder = None,
    device: Device = "auto",
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> None:
    """Choose each arm's strengths on validation, equally many trials each, and write that study."""
    from regulab.cli.watching import GuardedProgress
    from regulab.data import data_root as found_root
    from regulab.files import file_name, refusing, write_whole
    from regulab.progress import Outcome
    from regulab.study import tune as tune_study
    from regulab.terminal.consoles import output
    from regulab.terminal.progress_display import progress_for
    from regulab.terminal.trials_table import print_trials
    from regulab.tuning.places import as_file, trials_directory

    said = [f"tune.{key}={value}" for key, value in (("trials", trials), ("rule", rule)) if value is not None]
    study, source = _to_tune([*(arguments or []), *said], data=data, epochs=epochs, arms=arms)
    name = f"{study.name}-tuned"
    place = _not_the_study(out or Path(f"{file_name(name)}.yaml"), arguments or [])
    directory = trials_dir or trials_directory(Path("runs") / file_name(study.name))
    progress = GuardedProgress(progress_for(quiet=quiet), advice=AGAIN)
    with source.locating(), signals.unwinding(AGAIN), redirect_stdout(sys.stderr):
        found = tune_study(
            study,
            directory,
            data_root=data_root or found_root(),
            device=device,
            fresh=fresh,
            progress=progress,
        )
        progress.finished(Outcome(directory, directory, [], 0))
    with refusing(place):
        write_whole(place, as_file(found, name).to_yaml().encode())
    assert found.tuned is not None
    print_trials(found.tuned, output())
    print(f"study: {place}")
    print(f"next: regulab run {place}")


def _to_tune(given: Sequence[str], **options: Any) -> tuple[Study, Source]:
    """The study that the arguments name; one without ``tune:`` is tuned as that key's defaults say."""
    from regulab.cli.arguments import assembled

    study, source = assembled(given, **options)
    return (study, source) if study.tune is not None else assembled([*given, "tune={}"], **options)


def _not_the_study(place: Path, arguments: Sequence[str]) -> Path:
    """Where the tuned study goes; raises `UserError` for the file that it comes from."""
    if any(place.exists() and Path(one).exists() and place.samefile(one) for one in arguments):
        raise UserError("the study that is tuned would be written over", got=str(place), where="--out")
    return place
