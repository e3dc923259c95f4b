"""What ``regulab show`` lists: for every kind of thing its names with a line on each, or everything about one of
them."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from regulab.cli.pictures.canvas import Paper, of_terminal
from regulab.config import build_study, builtin_studies, load_mapping, parse_yaml
from regulab.config.effects import settle
from regulab.errors import UserError, did_you_mean
from regulab.values.describing import properties, rule

if TYPE_CHECKING:
    from regulab.config import Model
    from regulab.data import Dataset
    from regulab.data.formats.format import Format
    from regulab.exporters.exporter import Exporter
    from regulab.lessons.kit.lesson import Lesson
    from regulab.models.norm import Norm
    from regulab.techniques.technique import Technique

K = TypeVar("K", bound=BaseModel)
CLASSES = 10  # that a network's size is counted for
Entries = Mapping[str, tuple[str, Callable[[], str]]]  # name -> one line, and the whole text on demand


def arms(study: str) -> list[str]:
    """The legend of each arm of a study, built-in or a file; before them the factors that make them, if any."""
    from regulab.config.factors import in_words
    from regulab.techniques import legends

    content, source = load_mapping(study)
    with source.locating():
        found = build_study(settle(content, source), source)
        factors = [] if found.factors is None else [f"factors: {in_words(found.factors, found.baseline)}"]
        return [*factors, *legends(found).values()]


def keys(chosen: str | None) -> list[str]:
    """All keys of the study file, or one of them and the keys below it."""
    from regulab.cli.reference import lines, study_keys

    known = study_keys()
    found = [key for key in known if chosen is None or f"{key.name}.".startswith(f"{chosen}.")]
    if not found:
        last = [key.name for key in known if key.name.rpartition(".")[2] == chosen]
        cure = f"did you mean {last[0]}?" if last else did_you_mean(chosen, [key.name for key in known])
        raise UserError(
            "no such key", got=chosen, where="show keys", cure=cure, expected="one of `regulab show keys`"
        )
    return lines(found)


def _optimizers() -> Entries:
    from regulab.cli.pictures import optimizers
    from regulab.optimizers import OPTIMIZERS

    return _settings(OPTIMIZERS, optimizers.picture)


def _schedules() -> Entries:
    from regulab.cli.pictures import schedules
    from regulab.schedules import SCHEDULES

    return _settings(SCHEDULES, schedules.picture)


def _settings(found: Mapping[str, type[K]], picture: Callable[[type[K], Paper], list[str]]) -> Entries:
    from regulab.cli.reference import whole

    def told(kind: type[K]) -> str:
        return "\n".join(_with_picture([whole(kind)], picture(kind, of_terminal())))

    return {
        name: (inspect.cleandoc(kind.__doc__ or "").partition("\n")[0], partial(told, kind))
        for name, kind in found.items()
    }


def techniques() -> list[str]:
    """All techniques with a line on each, by where they act."""
    from regulab.cli.acting import overview
    from regulab.techniques import TECHNIQUES

    return overview(TECHNIQUES, of_terminal().width)


def _techniques() -> Entries:
    from regulab.techniques import TECHNIQUES

    return {
        name: (inspect.cleandoc(kind.__doc__ or "").partition("\n")[0], partial(_technique, kind))
        for name, kind in TECHNIQUES.items()
    }


def _fields(kind: type[BaseModel]) -> Iterator[str]:
    for name, schema in properties(kind).items():
        field = kind.model_fields[name]
        default = "required" if field.is_required() else f"default {field.default}"
        yield f"  {name}: {rule(schema)}; {default}"


def _technique(kind: type[Technique]) -> str:
    """The docstring, and each parameter with its type, range and default as they are checked."""
    from regulab.cli import pictures

    lines = [inspect.cleandoc(kind.__doc__ or ""), "", "In a study file:", *_fields(kind)]
    value = "NAME" if isinstance(getattr(kind.examples()[0], kind.scalar), str) else "NUMBER"
    lines.append(f"  {kind.name}: {value} is short for {kind.name}: {{{kind.scalar}: {value}}}")
    return "\n".join(_with_picture(lines, pictures.of_technique(kind, of_terminal())))


def _with_picture(lines: list[str], picture: list[str]) -> list[str]:
    return [*lines, "", *picture] if picture else lines


def _norms() -> Entries:
    from regulab.models import NORMS

    return {
        name: (inspect.cleandoc(kind.__doc__ or "").partition("\n")[0], partial(_norm, kind))
        for name, kind in NORMS.items()
    }


def _norm(kind: type[Norm]) -> str:
    from regulab.cli.pictures import norms

    lines = [inspect.cleandoc(kind.__doc__ or "")]
    if kind.model_fields:
        lines += ["", "In a study file:", *_fields(kind)]
        key = next(iter(kind.model_fields))
        lines.append(f"  norm: {{name: {kind.name}, {key}: …}}, in an arm or as model.norm")
    return "\n".join(_with_picture(lines, norms.picture(kind, of_terminal())))


def _models() -> Entries:
    from regulab.models import NETS

    return {name: (net.summary, partial(model, name)) for name, net in NETS.items()}


def model(name: str, size: str | None = None) -> str:
    """All about a network, with its size for images of ``size``, ``3x64x64``: one of regulab's, or a person's own."""
    from regulab.config import Model
    from regulab.models import is_user_model, net_of

    net = net_of(Model(name=name))
    lines = [net.summary, "", inspect.cleandoc(net.description)]
    if is_user_model(name) and size is None:
        return "\n".join([*lines, "", "With --size 3x64x64 (channels, height, width) its size is counted."])
    if net.args.model_fields:
        lines += ["", "In a study file, as model.args:", *_fields(net.args)]
    channels, height, width = net.usual if size is None else parsed_size(size)
    return "\n".join([*lines, "", _size_of(Model(name=name), (channels, height, width))])


def _size_of(chosen: Model, images: tuple[int, int, int]) -> str:
    import torch

    from regulab.models import build
    from regulab.models.measuring import measure
    from regulab.streams import Streams

    x = torch.zeros(2, *images)
    module = build(chosen, images[0], CLASSES, Streams("size", 0), x)
    return f"For {CLASSES} classes: {measure(module, x[:1]).sentence(*images)}."


def parsed_size(text: str) -> tuple[int, int, int]:
    """``3x64x64`` or ``3×64×64``: channels, height, width."""
    found = re.fullmatch(r"(\d{1,4})[x×,](\d{1,4})[x×,](\d{1,4})", text.strip())
    numbers = tuple(map(int, found.groups())) if found else ()
    if len(numbers) != 3 or 0 in numbers:
        expected = "channels, height and width: 3x64x64"
        raise UserError("not a size of images", got=text, expected=expected, where="--size")
    return numbers


def _datasets() -> Entries:
    from regulab.data import datasets

    return {name: (dataset.summary, partial(_dataset, dataset)) for name, dataset in datasets().items()}


def _dataset(dataset: Dataset) -> str:
    lines = [dataset.summary, f"source: {dataset.source}"]
    lines += [f"licence: {dataset.licence}"] if dataset.licence else []
    lines += [f"file: REGULAB_DATA/{file.folder}/{file.name}" for file in dataset.files]
    return "\n".join(lines)


def _formats() -> Entries:
    from regulab.data import known_formats

    return {
        name: (f"{one.summary}: {name}:PATH", partial(_format, one)) for name, one in known_formats().items()
    }


def _format(layout: Format) -> str:
    lines = [f"{layout.name}:PATH, {layout.summary}"]
    lines += [f"takes of `data`: {', '.join(sorted(layout.takes))}"] if layout.takes else []
    return "\n".join(lines)


def _studies() -> Entries:
    return {name: (_study_summary(name, text), text.rstrip) for name, text in builtin_studies().items()}


def _study_summary(name: str, text: str) -> str:
    """The comment that a study file begins with; where there is none, its arms."""
    comment = re.match(r"#\s*(.+)", text)
    if comment:
        return comment[1]
    return "arms " + ", ".join(build_study(parse_yaml(text, name), name).arms)


def _exporters() -> Entries:
    from regulab.exporters import exporters

    return {name: (one.summary, partial(_exporter, one)) for name, one in exporters().items()}


def _exporter(one: Exporter) -> str:
    """What its file says of it, and what it takes to be installed."""
    text = inspect.cleandoc(sys.modules[one.files.__module__].__doc__ or "")
    return f"{text}\n\nIt needs: {one.install}" if one.install else text


def _lessons() -> Entries:
    from regulab.lessons import lessons

    return {name: (lesson.summary, partial(_lesson, lesson)) for name, lesson in lessons().items()}


def _lesson(lesson: Lesson) -> str:
    claims = [f"- {claim.statement}\n  {claim.rule}" for claim in lesson.claims]
    sources = f"Sources: {'; '.join(lesson.sources)}."
    head = [lesson.title, "", lesson.takeaway, "", f"{len(claims)} claims, and when they hold:"]
    return "\n".join([*head, *claims, "", lesson.text.strip(), "", sources])


def _augmentation() -> Entries:
    from regulab.cli import augmentations

    return augmentations.entries()


CATALOGUES: dict[str, Callable[[], Entries]] = {
    "techniques": _techniques,
    "augmentation": _augmentation,
    "norms": _norms,
    "models": _models,
    "datasets": _datasets,
    "formats": _formats,
    "studies": _studies,
    "lessons": _lessons,
    "exporters": _exporters,
    "optimizers": _optimizers,
    "schedules": _schedules,
}
