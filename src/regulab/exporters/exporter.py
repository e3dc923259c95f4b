"""What a file of this folder defines: how the records of a study are written for another tool."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from regulab.errors import UserError
from regulab.records import StudyRecords


@dataclass(frozen=True, kw_only=True, eq=False)
class Exporter:
    """An exporter, which ``regulab export RUN_DIR --to NAME`` calls.

    ``files(records)`` yields the name of each file (a path below the folder of the export) and its content. It draws
    on the records alone and the same records give the same bytes, so that an export made again replaces
    itself. Numbers are those of the records; what is missing there (None: a diverged run) is left out or left empty.

    A tool that regulab does not install: ``module`` is what it is imported as, inside ``files``, and ``extra`` the one
    in ``pip install 'regulab[EXTRA]'``.
    """

    name: str
    summary: str
    files: Callable[[StudyRecords], Iterator[tuple[Path, bytes]]]
    module: str = ""
    extra: str = ""

    @property
    def install(self) -> str:
        """The command that installs what it needs; empty where it needs nothing."""
        return f"pip install 'regulab[{self.extra}]'" if self.extra else ""

    def check(self) -> None:
        """Raises `UserError` with the command that mends it where the tool is not installed."""
        if self.module and importlib.util.find_spec(self.module) is None:
            raise UserError(f"{self.module} is not installed", where=f"export {self.name}", cure=self.install)
