"""``regulab show``: what there is, one line each; with a name, all about it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel

from regulab.cli.arguments import DEFAULT_STUDY
from regulab.cli.exits import guarded
from regulab.config import build_study, builtin_studies, load_mapping, parse_yaml
from regulab.config.describing import properties, rule
from regulab.config.effects import settle
from regulab.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from regulab.data import Dataset
    from regulab.lessons.lesson import Lesson
    from regulab.models.net import Net
    from regulab.models.norm import Norm
    from regulab.techniques.technique import Technique


class Kind(StrEnum):
    """The kinds of things that ``show`` knows."""

    arms = "arms"
    techniques = "techniques"
    norms = "norms"
    models = "models"
    datasets = "datasets"
    studies = "studies"
    lessons = "lessons"
    optimizers = "optimizers"
    schedules = "schedules"
    keys = "keys"


@guarded
def show(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=", ".join(Kind))],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="One of them, in full; for arms a study, built-in or a file; for keys also a section.",
        ),
    ] = None,
) -> None:
    """Show what there is, or with NAME all about one: equation, parameters, source."""
    if kind is Kind.arms:
        print("\n".join(_arms(name or DEFAULT_STUDY)))
        return
    if kind is Kind.keys:
        print("\n".join(_keys(name)))
        return
    entries = CATALOGUES[kind]()
    if name is None:
        _print_lines({entry: summary for entry, (summary, _) in entries.items()})
        if not entries:
            print(f"there are no {kind.value} yet")
    elif name not in entries:
        listed = ", ".join(entries)
        expected = f"one of {listed}" if entries else f"nothing: there are no {kind.value} yet"
        cure = did_you_mean(name, entries)
        raise UserError("no such name", got=name, expected=expected, where=f"show {kind.value}", cure=cure)
    else:
        print(entries[name][1]())


def _fields(kind: type[BaseModel]) -> Iterator[str]:
    for name, schema in properties(kind).items():
        field = kind.model_fields[name]
        default = "required" if field.is_required() else f"default {field.default}"
        yield f"  {name}: {rule(schema)}; {default}"


Entries = Mapping[str, tuple[str, Callable[[], str]]]  # name -> one line, and the whole text on demand


def _arms(study: str) -> list[str]:
    from regulab.techniques import legends

    content, source = load_mapping(study)
    with source.locating():
        return list(legends(build_study(settle(content, source), source)).values())


def _keys(chosen: str | None) -> list[str]:
    """All keys of the study file, or one of them and what stands below it."""
    from regulab.cli.reference import lines, study_keys

    keys = study_keys()
    found = [key for key in keys if chosen is None or f"{key.name}.".startswith(f"{chosen}.")]
    if not found:
        last = [key.name for key in keys if key.name.rpartition(".")[2] == chosen]
        cure = f"did you mean {last[0]}?" if last else did_you_mean(chosen, [key.name for key in keys])
        raise UserError(
            "no such key", got=chosen, where="show keys", cure=cure, expected="one of `regulab show keys`"
        )
    return lines(found)


def _optimizers() -> Entries:
    from regulab.cli.reference import OPTIMIZERS

    return _settings(OPTIMIZERS)


def _schedules() -> Entries:
    from regulab.cli.reference import SCHEDULES

    return _settings(SCHEDULES)


def _settings(found: Mapping[str, type[BaseModel]]) -> Entries:
    from regulab.cli.reference import whole

    return {
        name: (inspect.cleandoc(kind.__doc__ or "").partition("\n")[0], partial(whole, kind))
        for name, kind in found.items()
    }


def _techniques() -> Entries:
    from regulab.techniques import TECHNIQUES

    return {
        name: (inspect.cleandoc(kind.__doc__ or "").partition("\n")[0], partial(_technique, kind))
        for name, kind in TECHNIQUES.items()
    }


def _technique(kind: type[Technique]) -> str:
    """The docstring, and each parameter with its type, range and default as they are checked."""
    lines = [inspect.cleandoc(kind.__doc__ or ""), "", "In a study file:", *_fields(kind)]
    lines.append(f"  {kind.name}: NUMBER is short for {kind.name}: {{{kind.scalar}: NUMBER}}")
    return "\n".join(lines)


def _norms() -> Entries:
    from regulab.models import NORMS

    return {
        name: (inspect.cleandoc(kind.__doc__ or "").partition("\n")[0], partial(_norm, kind))
        for name, kind in NORMS.items()
    }


def _norm(kind: type[Norm]) -> str:
    lines = [inspect.cleandoc(kind.__doc__ or "")]
    if kind.model_fields:
        lines += ["", "In a study file:", *_fields(kind)]
        key = next(iter(kind.model_fields))
        lines.append(f"  norm: {{name: {kind.name}, {key}: …}}, in an arm or as model.norm")
    return "\n".join(lines)


def _models() -> Entries:
    from regulab.models import NETS

    return {name: (net.summary, partial(_description, net)) for name, net in NETS.items()}


def _description(net: Net) -> str:
    return f"{net.summary}\n\n{inspect.cleandoc(net.description)}"


def _datasets() -> Entries:
    from regulab.data import datasets

    return {name: (dataset.summary, partial(_dataset, dataset)) for name, dataset in datasets().items()}


def _dataset(dataset: Dataset) -> str:
    lines = [dataset.summary, f"source: {dataset.source}", f"licence: {dataset.licence}"]
    lines += [f"file: REGULAB_DATA/{file.folder}/{file.name}" for file in dataset.files]
    return "\n".join(lines)


def _studies() -> Entries:
    return {name: (_study_summary(name, text), text.rstrip) for name, text in builtin_studies().items()}


def _study_summary(name: str, text: str) -> str:
    """The comment that a study file begins with; where there is none, its arms."""
    comment = re.match(r"#\s*(.+)", text)
    if comment:
        return comment[1]
    return "arms " + ", ".join(build_study(parse_yaml(text, name), name).arms)


def _lessons() -> Entries:
    from regulab.lessons import lessons

    return {name: (one.title, partial(_lesson, one)) for name, one in lessons().items()}


def _lesson(one: Lesson) -> str:
    claims = [f"- {claim.statement}\n  {claim.rule}" for claim in one.claims]
    sources = f"Sources: {'; '.join(one.sources)}."
    return "\n".join(
        [one.title, "", "Claims, and when they hold:", *claims, "", one.text.strip(), "", sources]
    )


CATALOGUES: dict[Kind, Callable[[], Entries]] = {
    Kind.techniques: _techniques,
    Kind.norms: _norms,
    Kind.models: _models,
    Kind.datasets: _datasets,
    Kind.studies: _studies,
    Kind.lessons: _lessons,
    Kind.optimizers: _optimizers,
    Kind.schedules: _schedules,
}


def _print_lines(lines: Mapping[str, str]) -> None:
    width = max(map(len, lines), default=0)
    for name, summary in lines.items():
        print(f"{name:{width}}  {summary}")
