"""Text files of a run directory: bounded, UTF-8, and with values of the right types."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from regulab.errors import UserError
from regulab.run_directory.places import read_file
from regulab.wording import one_line, visible

Content = TypeVar("Content")
MEGABYTE = 2**20
# Far above what any study writes: a thousand runs of a thousand epochs make 250 MB of history, 67 MB of orders.
MOST_BYTES = {".yaml": MEGABYTE, ".json": 256 * MEGABYTE, ".csv": 256 * MEGABYTE, ".jsonl": 2048 * MEGABYTE}
MOST_DIGITS, MOST_DEPTH = 20, 32
SHOWN = 80  # characters of a wrong value in a message


def read_optional_bytes(path: Path) -> bytes | None:
    """A text file's bytes, within the limit of its kind; None where there is none."""
    return read_file(path, MOST_BYTES[path.suffix])


def read_bytes(path: Path) -> bytes:
    content = read_optional_bytes(path)
    if content is None:
        raise UserError("missing", expected="a file of a run directory", where=str(path))
    return content


def read_text(path: Path) -> str:
    return decoded(read_bytes(path), path)


def decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text: {error}", where=str(path)) from error


def read_json(path: Path) -> Any:
    return parse_json(read_bytes(path), path)


def parse_json(content: bytes, path: Path) -> Any:
    """The value of a JSON text in which every key stands once, every number is finite and nothing is nested deeply."""
    try:
        value = json.loads(
            decoded(content, path),
            object_pairs_hook=_each_once,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_finite,
        )
        _refuse_depth(value)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise UserError(f"not valid JSON: {cut(reason)}", where=str(path)) from error
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice[:SHOWN]!r} is given twice")
    return content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:SHOWN]} is too large")
    return value


def _refuse_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MOST_DEPTH:
            raise ValueError("nested too deeply")
        inner = [one for one in level if isinstance(one, dict | list)]
        level = [value for one in inner for value in (one.values() if isinstance(one, dict) else one)]


def read_json_as(kind: TypeAdapter[Content], path: Path) -> Content | None:
    """A JSON file of ours; None where there is none."""
    content = read_optional_bytes(path)
    if content is None:
        return None
    value = parse_json(content, path)
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise wrong_value(error, str(path)) from error


def wrong_value(error: ValidationError, where: str) -> UserError:
    """The first problem that pydantic found, as a message with place and value."""
    problem = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(cut(str(part)) for part in problem["loc"])
    shown = problem["input"]
    got = shown if isinstance(shown, int | float) and abs(shown) < 1e300 else cut(str(shown)[: 4 * SHOWN])
    return UserError(problem["msg"], got=got, where=": ".join(part for part in (where, key) if part))


def cut(text: str) -> str:
    """A text from a file as it may be printed: on one line, without control characters, not too long."""
    return one_line(text[: 20 * SHOWN], SHOWN)


def refuse_controls(names: Iterable[str], where: str) -> None:
    """Raises `UserError` for a name that would move a terminal's cursor or turn its line around."""
    for name in names:
        if visible(name) != name or set(name) & set("\t\n\u2028\u2029"):
            raise UserError("control characters in a name", got=cut(name), where=where)


def all_printable(value: Any) -> Any:
    """A value from JSON or YAML with the control characters of every text in it written out."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {all_printable(key): all_printable(one) for key, one in value.items()}
    return [all_printable(one) for one in value] if isinstance(value, list) else value
