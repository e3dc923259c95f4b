"""Where the values of a study came from: a line of a file, an override, an option."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from regulab.errors import UserError

FILE, COMMAND = 0, 1  # what the command line says holds over the file


@dataclass
class Source:
    """``name`` is the file, built-in study, or caller; ``lines`` of dotted keys, ``texts`` of single values.

    ``given`` maps the dotted keys that the command line set to how it says it (``override train.epochs``,
    ``--epochs``), ``before`` to what stood there.
    """

    name: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    recorded: bool = False  # a run directory's own file
    is_key: bool = False  # the name is a key itself, of what stands in a file that is not known here

    def __str__(self) -> str:
        return self.name

    def at(self, key: str) -> str:
        """``study.yaml, line 3: train.epochs``; of a key that nobody wrote, the line of what it would stand in."""
        said = next((self.given[place] for place in _key_and_its_parents(key) if place in self.given), None)
        if said is not None:
            return said if said.endswith(f" {key}") else f"{said}: {key}"
        line = next((self.lines[place] for place in _key_and_its_parents(key) if place in self.lines), None)
        if line is not None:
            return f"{self.name}, line {line}: {key}"
        return ("." if self.is_key else ": ").join(part for part in (self.name, key) if part)

    def rank(self, key: str) -> int:
        """Whether the file or the command line set a key last."""
        return COMMAND if any(place in self.given for place in _key_and_its_parents(key)) else FILE

    def says(self, key: str) -> bool:
        """Whether the command line set a key, or something in it."""
        return self.rank(key) == COMMAND or any(place.startswith(f"{key}.") for place in self.given)

    def say(self, key: str, how: str, before: Any) -> None:
        """Notes that the command line sets a key and everything below it."""
        self.given = {one: said for one, said in self.given.items() if not f"{one}.".startswith(f"{key}.")}
        self.given[key] = how
        self.before.setdefault(key, before)

    def as_written(self, key: str) -> str | None:
        """The text of a value in the file, where the command has not replaced it."""
        return None if self.rank(key) == COMMAND else self.texts.get(key)

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Adds to errors that only name a key where it was written: techniques, models and data know nothing of
        files."""
        try:
            yield
        except UserError as error:
            key = error.where
            known = any(place in self.given or place in self.lines for place in _key_and_its_parents(key))
            if "." not in key or not known:  # a bare word may be a folder's name
                raise
            located = UserError(
                error.problem, got=error.got, expected=error.expected, where=self.at(key), cure=error.cure
            )
            raise located from error


def _key_and_its_parents(key: str) -> Iterator[str]:
    """``a.b.c``, ``a.b``, ``a``."""
    while key:
        yield key
        key = key.rpartition(".")[0]
