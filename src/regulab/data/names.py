"""Text that others chose (names of folders and files, what a server says): made visible, cut, or refused."""

from __future__ import annotations

import unicodedata

from regulab.errors import UserError

LONGEST = 120  # characters of a foreign text that a message shows
# Directional embeddings, overrides and isolates reorder what stands around them, line and paragraph separators
# break it. Joiners (U+200C, U+200D) stay: Persian, Hindi and emoji need them.
REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")


def hidden(character: str) -> bool:
    """Whether a character has no picture of its own: control, half of a pair (bytes that are not UTF-8), reordering."""
    return character in REORDERING or unicodedata.category(character) in ("Cc", "Cs")


def visible(text: str, longest: int = LONGEST) -> str:
    """The text with hidden characters as escapes (``\\x1b``, ``\\u202e``), cut at ``longest`` characters."""
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return "".join(
        character.encode("unicode_escape").decode() if hidden(character) else character for character in text
    )


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
    if any(hidden(character) for character in name):
        raise UserError(
            "control characters in the name of a class",
            got=name,
            expected="a folder renamed without them",
            where=where,
        )
