"""Text that others chose (names of folders and files, a server's messages): made visible, cut, or refused."""

from __future__ import annotations

import unicodedata

from regulab.errors import UserError
from regulab.unseen import REORDERING, SPELLING, escaped, unseen

LONGEST = 120  # characters of a foreign text that a message shows


def visible(text: str, longest: int = LONGEST) -> str:
    """The text with unseen characters as escapes (``\\x1b``, ``\\u202e``), cut at ``longest`` characters."""
    return escaped(text if len(text) <= longest else f"{text[: longest - 1]}…", SPELLING)


def visible_list(names: list[str] | tuple[str, ...], most: int = 5) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(visible(name) for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def refuse_unprintable(name: str, where: str) -> None:
    """Raises `UserError` for a class name that a page or a terminal could not show as it is."""
    if any("\udc80" <= character <= "\udcff" for character in name):
        raise UserError(
            "the name of a class is not UTF-8",
            got=name,
            expected="a folder renamed",
            where=where,
        )
    if any(unseen(c) and (c in REORDERING or unicodedata.category(c) != "Cf") for c in name):
        raise UserError(
            "control characters in the name of a class",
            got=name,
            expected="a folder renamed without them",
            where=where,
        )
