"""A study file with every key, its default and what it means, to be changed: ``regulab init FILE``."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regulab.errors import printable

if TYPE_CHECKING:
    from regulab.cli.reference import Key

WIDTH = 100  # columns of a comment
HEAD = """\
# A study: `regulab run {file}` trains, tests and compares its arms.
# Every key stands here with its default: change what you like and delete the rest, which keeps its default.
# An editor checks it where `regulab schema` has been written to a file that the next line names:
# yaml-language-server: $schema=study.schema.json
"""
INDENT = "  "
SECOND_NAMES = {"train.schedule.max_lr"}  # of what stands elsewhere: two that differ are refused


def study_file(file: Path) -> str:
    """The text for a file of this name. What each key takes and means is what `regulab.cli.reference` tells."""
    from regulab.cli.reference import study_keys
    from regulab.config import Study, build_study

    study = build_study({"name": file.stem})
    values = study.model_dump(mode="json") | {"seeds": len(Study().seeds)}
    return HEAD.format(file=printable(str(file))) + "\n".join(_lines(study_keys(), values)) + "\n"


def _lines(keys: list[Key], values: Mapping[str, Any]) -> Iterator[str]:
    chosen = {values["train"][part]["name"] for part in ("optimizer", "schedule")}
    for key in keys:
        *above, name = key.name.split(".")
        if key.of and chosen.isdisjoint(key.of.split(" or ")):
            continue  # of another optimizer or schedule
        if key.name.startswith("arms."):
            continue  # of a technique
        if key.name.startswith("data.augment."):
            continue  # half a hundred, which `regulab show augmentation` tells and draws
        value = _value(values, key.name)
        if key.name in SECOND_NAMES or (value is None and key.default != "null"):
            yield from _comment(f"{name}: {key.meaning}{_values_taken(key)}", INDENT * len(above))
            continue
        if not above:
            yield ""
        operations = f" Keys: {', '.join(_augmentation(keys))}." if key.name == "data.augment" else ""
        yield from _comment(f"{key.meaning}{_values_taken(key)}{operations}", INDENT * len(above))
        yield _entry(name, value, INDENT * len(above))
        if key.name in ("train.optimizer", "train.schedule"):
            yield f"{INDENT * 2}name: {value['name']}"
        if key.name == "arms":
            yield from _arms(value)


def _augmentation(keys: list[Key]) -> Iterator[str]:
    """The keys of ``data.augment`` itself, with those in them for `regulab show augmentation` to tell."""
    for key in keys:
        if key.name.startswith("data.augment.") and key.name.count(".") == 2:
            yield key.name.rpartition(".")[2]


def _value(values: Mapping[str, Any], key: str) -> Any:
    """The default at a dotted key; None where there is none: a part of ``data.normalize``, which is a name."""
    value: Any = values
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _values_taken(key: Key) -> str:
    return "" if key.takes in ("mapping", "text") else f" Takes {key.takes}."


def _entry(name: str, value: Any, indent: str) -> str:
    """``name: value``; of a mapping that has keys only its name, for they follow."""
    from regulab.config.documents import dump_yaml

    if isinstance(value, Mapping) and value:
        return f"{indent}{name}:"
    line = dump_yaml({name: value}).rstrip()
    return indent + (line[1:-1] if line.startswith("{") else line)  # a flat mapping is written in braces


def _arms(arms: Mapping[str, Any]) -> Iterator[str]:
    from regulab.config.documents import dump_yaml
    from regulab.techniques import TECHNIQUES

    for name, kind in TECHNIQUES.items():
        summary = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
        yield from _comment(f"{name}: {summary}", INDENT)
    yield from _comment("`regulab show techniques NAME` tells all about one.", INDENT)
    yield textwrap.indent(dump_yaml(dict(arms)).rstrip(), INDENT)


def _comment(text: str, indent: str) -> Iterator[str]:
    start = f"{indent}# "
    yield from textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=start)
