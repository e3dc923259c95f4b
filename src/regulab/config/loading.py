"""From a file, a built-in study and the command line to a `Study`."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from regulab.config.documents import LONGEST_TEXT, parse_document
from regulab.config.effects import settle
from regulab.config.paths import from_here
from regulab.config.schema import ASSIGNMENT_ARMS, NAMED_BY, Study
from regulab.config.training import RECORDED
from regulab.errors import UserError, did_you_mean
from regulab.values.complaints import validate
from regulab.values.sources import Source

TEMPLATE = "x-"  # top-level keys that begin so are there to be merged from


def builtin_studies() -> dict[str, str]:
    """Names of the built-in studies and their YAML texts."""
    files = resources.files("regulab") / "studies"
    found = {
        Path(file.name).stem: file.read_text("utf-8")
        for file in files.iterdir()
        if file.name.endswith(".yaml")
    }
    return dict(sorted(found.items()))


def load_mapping(study: str) -> tuple[dict[str, Any], Source]:
    """The mapping in a study file or built-in study, and where its values came from (for messages).

    Paths in a file are relative to the file; here they become paths from the working directory.
    """
    builtin = builtin_studies()
    if study in builtin:
        return parse_study(builtin[study], f"built-in study {study}")
    text = _read(study, list(builtin))
    content, source = parse_study(text, study)
    from_here(content, source, Path(study).parent)
    return content, source


def parse_study(text: str, where: str) -> tuple[dict[str, Any], Source]:
    """The mapping that a study's YAML text holds, and where its values stand."""
    document = parse_document(text, where)
    if not isinstance(document.value, dict):
        got = "nothing" if document.value is None else document.value
        raise UserError("not a study", got=got, expected="a mapping of keys", where=where)
    content = {key: value for key, value in document.value.items() if not key.startswith(TEMPLATE)}
    recorded = isinstance(content.get("resolved"), dict)
    return content, Source(where, document.lines, document.texts, recorded=recorded)


def _read(study: str, builtin: list[str]) -> str:
    """The text of a study file; raises `UserError` where there is none, or none that can be read."""
    expected = f"a YAML file or one of {', '.join(builtin)}"
    try:
        if os.path.isdir(study):
            inside = os.path.join(study, "study.yaml")
            cure = f"did you mean {inside}?" if os.path.isfile(inside) else ""
            raise UserError("a folder, no study", got=study, expected=expected, cure=cure)
        if not is_file(study):
            raise UserError("no such study", got=study, expected=expected, cure=did_you_mean(study, builtin))
        with open(study, "rb") as file:
            content = file.read(4 * LONGEST_TEXT + 1)
        return content.decode()
    except OSError as error:
        raise UserError(f"cannot read the study file: {error.strerror}", where=study) from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problem = f"cannot read the study file: byte {error.start} is no UTF-8 text"
        raise UserError(problem, where=f"{study}, line {line}", cure="save it as UTF-8") from None


def is_file(text: str) -> bool:
    """Whether a text from the command line names a file. A text that cannot be a file name does not."""
    try:
        return Path(text).is_file()
    except ValueError:
        return False
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            return False
        raise UserError(f"cannot read: {error.strerror}", where=text) from error


def override(content: dict[str, Any], assignment: str, source: Source | None = None) -> None:
    """Replaces in ``content`` what stood at a dotted key: ``train.epochs=5``. The value is YAML.

    ``source`` notes that the command line said so. A key may itself contain dots, such as an arm called ``v1.5``.
    """
    key, _, text = assignment.partition("=")
    key = key.strip()
    if not all(key.split(".")):
        raise UserError("not an override", got=assignment, expected="KEY=VALUE, such as train.epochs=5")
    put_key(content, key, parse_document(text, where=f"override {key}").value, source, f"override {key}")


def put_key(content: dict[str, Any], key: str, value: Any, source: Source | None, said: str) -> None:
    """Sets the value at a dotted key; ``said`` is how the command line says it."""
    first, *more = key.split(".")
    if first == "arms" and more:
        if content.get("factors") is not None:
            cure = "change factors, or give all arms anew: arms={…}"
            raise UserError("the arms are made by factors", got=key, where=said, cure=cure)
        content.setdefault("arms", ASSIGNMENT_ARMS)
    place, rest = content, [first, *more]
    while True:
        step = _longest_known_key(place, rest)
        rest = rest[step.count(".") + 1 :]
        if not rest:
            before, place[step] = place.get(step), value
            break
        place[step] = _opened(step, place.get(step))
        place = place[step]
    if source is not None:
        source.say(key, said, before)


def _longest_known_key(place: Mapping[str, Any], rest: list[str]) -> str:
    for length in range(len(rest), 1, -1):
        if ".".join(rest[:length]) in place:
            return ".".join(rest[:length])
    return rest[0]


def _opened(part: str, inner: Any) -> dict[str, Any]:
    """A copy of what stands at ``part``, as a mapping; a bare name is written out first."""
    if isinstance(inner, str) and part in NAMED_BY:
        return {NAMED_BY[part]: inner}
    return dict(inner) if isinstance(inner, dict) else {}


def load_study(study: str, *overrides: str) -> Study:
    """A built-in study or study file, with overrides such as ``train.epochs=5``; raises `UserError`."""
    content, source = load_mapping(study)
    for assignment in overrides:
        override(content, assignment, source)
    return build_study(settle(content, source), source)


def build_study(content: Mapping[str, Any], where: str | Source = "") -> Study:
    """A validated `Study`; raises `UserError` with the first problem's key, value and rule."""
    recorded = isinstance(content.get("resolved"), Mapping) or (isinstance(where, Source) and where.recorded)
    return validate(Study, content, where, context={RECORDED: recorded})
