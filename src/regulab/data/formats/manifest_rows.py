"""The rows of a manifest, a table of image files and their labels, as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from regulab.data.names import visible, visible_list
from regulab.data.regular_file import open_regular, reason
from regulab.errors import UserError

FILE_COLUMNS = (
    "file_name",
    "filename",
    "file",
    "path",
    "filepath",
    "file_path",
    "image",
    "image_path",
    "img",
    "image_id",
)
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "target", "category", "diagnosis", "y")
SPLIT_COLUMNS = ("split", "part", "set", "subset", "fold", "partition")
DELIMITERS = ",;\t"
MOST_BYTES = 2**28  # five million rows of fifty bytes
EXPECTED = "a header with file_name and label (and split), such as file_name,label,split"


@dataclass(frozen=True)
class Rows:
    """What a manifest says, column by column; ``lines`` are those of the file, for messages."""

    files: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[str] | None
    groups: Sequence[str] | None
    lines: Sequence[int]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)


def read_rows(path: Path, group: str | None) -> Rows:
    """The rows of a manifest. ``group`` names another column to read.

    Columns are found by their names in upper or lower case; commas, semicolons or tabs stand between them. Raises
    `UserError` for a file that is no such table, and for rows without a file, without a label or of another length.
    """
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=_delimiter(path))
    try:
        table = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UserError(
            f"no table ({error})", expected=EXPECTED, where=f"{path}, line {reader.line_num}"
        ) from error
    if not table:
        raise UserError("an empty table", expected=EXPECTED, where=str(path))
    (_, header), *body = table
    if not body:
        raise UserError("a table without rows", got=visible_list(header), expected=EXPECTED, where=str(path))
    columns = _columns(header, group, path)
    for line, row in body:
        if len(row) != len(header):
            raise UserError(
                "a row of another length than the header",
                got=f"{len(row)} cells",
                expected=f"{len(header)}; a cell that holds the delimiter stands in quotes",
                where=f"{path}, line {line}",
            )
    cells = {name: [row[place].strip() for _, row in body] for name, place in columns.items()}
    lines = [line for line, _ in body]
    for name in ("file", "label"):
        _refuse_empty(cells[name], header[columns[name]], lines, path)
    if group is not None:
        _refuse_empty(cells["group"], group, lines, path)
    notes = tuple(_other_columns(header, columns))
    return Rows(cells["file"], cells["label"], cells.get("split"), cells.get("group"), lines, notes)


def _other_columns(header: Sequence[str], columns: Mapping[str, int]) -> Iterator[str]:
    """Says which column was taken where several have names of labels or of splits."""
    names = [name.strip().lower() for name in header]
    for column, known in (("label", LABEL_COLUMNS), ("split", SPLIT_COLUMNS)):
        taken = columns.get(column)
        free = [place for place, name in enumerate(names) if name in known and place not in columns.values()]
        others = [header[place].strip() for place in free]
        if taken is not None and others:
            yield (
                f"{column}s are those of the column {visible(header[taken].strip())}; another column with such a name "
                f"was left out: {visible_list(others)}"
            )


def _text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise UserError("no such file", got=str(path), where="data.name") from error
    except OSError as error:
        raise UserError(f"cannot read the table ({reason(error)})", where=str(path)) from error
    if len(content) > MOST_BYTES:
        raise UserError("the table is too large", expected=f"at most {MOST_BYTES:,} bytes", where=str(path))
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(
            "UTF-16, as spreadsheets save it", expected="the table saved as UTF-8", where=str(path)
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"byte {error.start} is no UTF-8",
            expected="the table saved as UTF-8",
            where=f"{path}, line {line}",
        ) from error
    if "\0" in text:
        raise UserError("no text: it holds zero bytes", expected=EXPECTED, where=str(path))
    return text


def _delimiter(path: Path) -> str:
    """What stands between the cells of the header: the one of the three that occurs most."""
    header = next((line for line in _text(path).splitlines() if line.strip()), "")
    return max(DELIMITERS, key=header.count)


def _columns(header: Sequence[str], group: str | None, path: Path) -> dict[str, int]:
    """Where the columns stand: ``file``, ``label``, and ``split`` and ``group`` if there are any."""
    names = [name.strip().lower() for name in header]
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise UserError(
            "two columns of one name", got=visible(twice[0]), expected="each once", where=str(path)
        )
    found = {}
    for column, known in (("file", FILE_COLUMNS), ("label", LABEL_COLUMNS), ("split", SPLIT_COLUMNS)):
        places = [names.index(name) for name in known if name in names]
        if places:
            found[column] = places[0]
        elif column != "split":
            raise UserError(
                f"no column of {'files' if column == 'file' else 'labels'}",
                got=visible_list([*header], 20),
                expected=f"one called {', '.join(known)}, and the rest as in {EXPECTED}",
                where=str(path),
            )
    if group is not None:
        if group.strip().lower() not in names:
            raise UserError(
                "no such column",
                got=group,
                expected=f"one of {visible_list([*header], 20)}",
                where="data.group",
            )
        found["group"] = names.index(group.strip().lower())
    return found


def _refuse_empty(cells: Sequence[str], name: str, lines: Sequence[int], path: Path) -> None:
    empty = [line for line, cell in zip(lines, cells, strict=True) if not cell]
    if empty:
        raise UserError(
            f"rows with nothing under {visible(name.strip())}",
            got=f"{len(empty):,} of {len(lines):,}",
            expected="a value in every row",
            where=f"{path}, line {empty[0]}",
        )
