"""Checks what people pass to the functions of the Python interface; raises `UserError` where it is something else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from regulab.errors import UserError, did_you_mean


def path(value: str | os.PathLike[str], argument: str) -> Path:
    """A path given as text or as a path, with ``~`` resolved, since no shell has done so."""
    if not isinstance(value, str | os.PathLike) or not isinstance(name := os.fspath(value), str):
        raise UserError("not a path", got=value, expected="a text or a pathlib.Path", where=argument)
    if not name or "\0" in name:
        raise UserError("not a path", got=name, expected="the name of a folder or file", where=argument)
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise UserError("no home folder for this path", got=name, where=argument) from error


def whole_number(value: int, argument: str, *, least: int, most: int) -> int:
    """A whole number in ``least … most``; true and false do not count."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        expected = f"a whole number, {least} to {most:,}"
        raise UserError("not a count", got=value, expected=expected, where=argument)
    return value


def switch(value: bool, argument: str) -> bool:
    """True or false; a text such as "no" would count as true, and `fresh` deletes."""
    if not isinstance(value, bool):
        raise UserError("neither true nor false", got=value, expected="True or False", where=argument)
    return value


def one_of(value: str, options: Iterable[str], argument: str) -> str:
    """One of ``options``."""
    known = list(options)
    if value not in known:
        raise UserError(
            f"no such {argument}",
            got=value,
            expected=f"one of {', '.join(known)}",
            cure=did_you_mean(value, known),
        )
    return value
