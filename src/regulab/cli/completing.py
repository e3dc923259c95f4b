"""The values that a shell offers after TAB: studies, arms, names of techniques, datasets, metrics.

Each function gets what has been typed so far and imports what it needs when it is called. The person who pressed TAB is
waiting, so nothing here imports torch: names of techniques, norms, models and lessons are read from their files.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ParamSpec, get_args

import typer

import regulab

P = ParamSpec("P")
NAME = re.compile(r'^    name(?:: ClassVar\[str\])? ?= ?"([^"]+)"', re.MULTILINE)
FOLDERS = {
    "techniques": "techniques",
    "augmentation": "data/augmentation/operations",
    "norms": "models/norms",
    "models": "models/nets",
    "lessons": "lessons",
}
OF_PARTS = ("train.optimizer.name", "train.schedule.name")  # the optimizer and the schedule stand for them


def offering(words: Callable[P, Iterable[str]]) -> Callable[P, list[str]]:
    """Problems with a study or a folder are reported when the command is run, not while it is being typed."""

    @functools.wraps(words)
    def offered(*args: P.args, **kwargs: P.kwargs) -> list[str]:
        try:
            return list(words(*args, **kwargs))
        except Exception:
            return []

    return offered


def starting(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


@offering
def studies(incomplete: str) -> Iterable[str]:
    """Built-in studies, and the YAML files in this folder; in other folders the shell completes file names itself."""
    from regulab.config import builtin_studies

    files = sorted(path.name for path in Path().iterdir() if path.suffix in (".yaml", ".yml"))
    return starting([*builtin_studies(), *files], incomplete)


@offering
def images(incomplete: str) -> Iterable[str]:
    """Folders, with a slash behind them, and files that may list or hold images, one level at a time."""
    from regulab.config.paths import ENDINGS

    head, slash, last = incomplete.rpartition("/")
    entries = sorted((Path(head + slash) if slash else Path()).expanduser().iterdir())
    shown = [entry for entry in entries if entry.name.startswith(".") <= last.startswith(".")]
    words = [
        f"{head}{slash}{entry.name}{'/' if entry.is_dir() else ''}"
        for entry in shown
        if entry.is_dir() or entry.suffix.lower() in ENDINGS
    ]
    return starting(words, incomplete)


@offering
def arms(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Arms of the study that was typed before, for a comma-separated list: ``none,l`` to ``none,l1``."""
    from regulab.cli.arguments import assembled_study

    head, comma, last = incomplete.rpartition(",")
    chosen = head.split(",")
    found = assembled_study(_typed(ctx, "arguments")).arms
    return [f"{head}{comma}{arm}" for arm in starting(found, last) if arm not in chosen]


@offering
def arms_of_directory(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Of one run directory or several."""
    from regulab.config import load_study

    studies = [load_study(str(Path(folder) / "study.yaml")) for folder in _typed(ctx, "run_dir")]
    return starting(dict.fromkeys(arm for study in studies for arm in study.arms), incomplete)


@offering
def verdicts(incomplete: str) -> Iterable[str]:
    """For a comma-separated list."""
    from regulab.statistics.verdicts import Verdict

    head, comma, last = incomplete.rpartition(",")
    known = [one for one in get_args(Verdict) if one not in head.split(",")]
    return [f"{head}{comma}{one}" for one in starting(known, last)]


@offering
def divisions(incomplete: str) -> Iterable[str]:
    return starting(("dataset",), incomplete)


@offering
def metrics(incomplete: str) -> Iterable[str]:
    from regulab.statistics.values import METRICS

    return starting(METRICS, incomplete)


@offering
def datasets(incomplete: str) -> Iterable[str]:
    from regulab.data import datasets as known
    from regulab.data import known_formats

    return starting([*known(), *(f"{name}:" for name in known_formats())], incomplete)


@offering
def techniques(incomplete: str) -> Iterable[str]:
    return starting(named_in(FOLDERS["techniques"]), incomplete)


@offering
def downloads(incomplete: str) -> Iterable[str]:
    from regulab.data import datasets as known

    return starting([name for name, dataset in known().items() if dataset.files], incomplete)


@offering
def protocols(incomplete: str) -> Iterable[str]:
    from regulab.config import Protocol
    from regulab.values.describing import properties

    return starting(properties(Protocol)["kind"]["enum"], incomplete)


@offering
def devices(incomplete: str) -> Iterable[str]:
    return starting(("auto", "cpu", "cuda"), incomplete)


@offering
def lessons(incomplete: str) -> Iterable[str]:
    return starting([*named_in(FOLDERS["lessons"]), "all"], incomplete)


@offering
def exporters(incomplete: str) -> Iterable[str]:
    from regulab.exporters import exporters as known

    return starting(known(), incomplete)


@offering
def names(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """What ``show`` knows of the kind that was typed before."""
    kind = str(ctx.params["kind"])
    return starting(named_in(FOLDERS[kind]) if kind in FOLDERS else _listed(kind), incomplete)


def named_in(folder: str) -> list[str]:
    """The names under which the package's files register things, read from their source."""
    files = (Path(regulab.__file__).parent / folder).rglob("*.py")
    return sorted(name for file in files for name in NAME.findall(file.read_text("utf-8")))


def _typed(ctx: typer.Context, parameter: str) -> list[str]:
    """What stands before the cursor for an argument; before an option without its value the parser leaves it over."""
    given = ctx.params.get(parameter) or ()
    return [*map(str, given if isinstance(given, list | tuple) else [given]), *ctx.args]


def _listed(kind: str) -> Iterable[str]:
    from regulab.cli.listing import CATALOGUES
    from regulab.config import Study, builtin_studies
    from regulab.values.describing import keys_below

    found: dict[str, Callable[[], Iterable[Any]]] = {
        "arms": builtin_studies,
        "keys": lambda: dict.fromkeys(
            key for key, _, _ in keys_below(Study) if key not in ("resolved", *OF_PARTS)
        ),
    }
    return found.get(kind, lambda: CATALOGUES[kind]())()
