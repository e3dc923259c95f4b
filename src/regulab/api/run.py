"""``regulab.run``: from a question to its answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from regulab import config
from regulab import study as main_path
from regulab.api.progress import progress_for
from regulab.api.study import load_study
from regulab.data import data_root as default_root
from regulab.dry_run import many_arms, plan, size_in_words
from regulab.errors import UserError, did_you_mean
from regulab.files import file_name
from regulab.progress import Progress
from regulab.results import Results
from regulab.results.arguments import path, switch, whole_number

MAX_SEEDS = 40  # where ``until_decided`` stops, as on the command line
OPTIONS = (
    "study",
    "out",
    "data_root",
    "device",
    "fresh",
    "until_decided",
    "max_seeds",
    "progress",
    "confirmed",
)


def run(
    study: str | os.PathLike[str] | config.Study = "l1-l2",
    *,
    out: str | os.PathLike[str] | None = None,
    data_root: str | os.PathLike[str] | None = None,
    device: str = "auto",
    fresh: bool = False,
    until_decided: bool = False,
    max_seeds: int | None = None,
    progress: Progress | Literal["auto"] | None = "auto",
    confirmed: bool = False,
    **changes: Any,
) -> Results:
    """Trains every arm of a study on every seed, tests each run once, writes the report, and gives the results.

    Args:
        study: the name of a built-in study, a study file, or a `Study`.
        out: the run directory; by default ``runs/<name of the study>``. What it holds already is not trained again:
            a study that was stopped goes on, more seeds extend it, and a finished one trains nothing.
        data_root: where datasets lie; by default ``$REGULAB_DATA``, else the user's cache folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        fresh: deletes what the run directory holds first.
        until_decided: adds seeds until every arm is decided, or there are ``max_seeds`` (40 unless told otherwise).
        progress: ``auto`` shows it in place in a notebook and on a terminal, as lines elsewhere, on stderr; None shows
            nothing; an object of your own is told of every epoch (`Progress`).
        confirmed: trains a factorial of more than 32 arms, which is refused without, with its size and time.
        changes: of the study, as `load_study` takes them: ``seeds=3``, ``train={"epochs": 5}``,
            ``**{"train.optimizer.lr": 0.1}``.

    Raises `UserError`, before anything is trained, where the study, the data, the directory or an argument is wrong. An
    interruption keeps what was trained: call it again to go on.
    """
    _refuse_misspelt(changes)
    asked = load_study(study, **changes)
    directory = Path("runs") / file_name(asked.name) if out is None else path(out, "out")
    root = default_root() if data_root is None else path(data_root, "data_root")
    delete = switch(fresh, "fresh")
    if not switch(confirmed, "confirmed"):
        _refuse_many_arms(asked, directory, root, _text(device), fresh=delete)
    outcome = main_path.run(
        asked,
        directory,
        data_root=root,
        device=_text(device),
        fresh=delete,
        max_seeds=_limit(switch(until_decided, "until_decided"), max_seeds),
        progress=progress_for(progress),
    )
    return Results(outcome.directory)


def _refuse_many_arms(study: config.Study, directory: Path, root: Path, device: str, *, fresh: bool) -> None:
    if many_arms(study, directory, fresh=fresh):
        size = size_in_words(study, plan(study, data_root=root, device=device))
        problem, cure = "a factorial of this size is asked about first", "confirmed=True trains it all"
        raise UserError(problem, got=size, cure=cure)


def _limit(until_decided: bool, max_seeds: int | None) -> int | None:
    if max_seeds is not None:
        whole_number(max_seeds, "max_seeds", least=1, most=config.MOST_SEEDS)
        if not until_decided:
            raise UserError(
                "a limit of seeds to add, but none are added",
                expected="until_decided=True",
                where="max_seeds",
            )
    return (max_seeds or MAX_SEEDS) if until_decided else None


def _text(device: str) -> str:
    if not isinstance(device, str):
        raise UserError("not a device", got=device, expected="auto, cpu, cuda or cuda:1 …", where="device")
    return device


def _refuse_misspelt(changes: dict[str, Any]) -> None:
    """A keyword that is nearly one of `run`'s own is told so; all others are keys of the study, which knows its own."""
    fields = config.Study.model_fields
    for keyword in changes:
        meant = did_you_mean(keyword, OPTIONS)
        if meant and keyword.partition(".")[0] not in fields and not did_you_mean(keyword, fields):
            expected = f"a key of the study, or one of {', '.join(OPTIONS)}"
            raise UserError("no such keyword", got=keyword, expected=expected, cure=meant)
