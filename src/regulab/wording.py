"""Text from elsewhere (names, exceptions) in our own sentences: visible, on one line, not too long, and marked."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from regulab.unseen import numbered

NAME_LIMIT = 120  # characters of a name in a sentence or a cell
NOTE_LIMIT = 600  # of a note from training, which may quote an exception
_RIGHT_TO_LEFT = {"R", "AL", "AN"}
_ISOLATED = re.compile("\u2068[^\u2068\u2069]*\u2069")


def visible(text: object, *, isolates: bool = False) -> str:
    """``text`` with what is not seen, or turns its neighbours around, shown by number: ESC as ``[U+001B]``.

    Control characters other than tab and line ends, lone surrogates, overrides and isolates of direction, and format
    characters that no script needs. Such text can neither move a terminal's cursor nor pass for another text. With
    ``isolates`` what `isolated` put around a name stays.
    """
    if not isolates:
        return numbered(str(text).replace("\r\n", "\n"))
    line, start, parts = str(text), 0, []
    for match in _ISOLATED.finditer(line):
        parts += [visible(line[start : match.start()]), f"\u2068{visible(match[0][1:-1])}\u2069"]
        start = match.end()
    return "".join([*parts, visible(line[start:])])


def isolated(text: str) -> str:
    """``text`` so that right-to-left letters in it do not reorder their neighbours; otherwise unchanged."""
    outside = _ISOLATED.sub("", text)
    return (
        f"\u2068{text}\u2069"
        if any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in outside)
        else text
    )


def one_line(text: object, limit: int | None = None, *, isolates: bool = False) -> str:
    """`visible` text on one line, cut in the middle to ``limit`` characters.

    The middle goes because long names of one family tend to share their beginning.
    """
    line = " ".join(visible(text, isolates=isolates).split())
    if limit is None or len(line) <= limit:
        return line
    head = limit // 2
    return f"{line[:head].rstrip()}…{line[len(line) - (limit - 1 - head) :].lstrip()}"


def quoted(name: object) -> str:
    """A name as it appears in a sentence: ``“none”``, so that it is never read as a word of the sentence."""
    return f"“{isolated(one_line(name, NAME_LIMIT))}”"


def e_values(kind: str | None) -> str:
    """Of what kind the e-values are that judge a study, and what they speak of."""
    return (
        "sign e-values of the median difference"
        if kind == "sign"
        else "self-normalized e-values of the centre"
    )


def named(arm: object) -> str:
    """``arm “none”``."""
    return f"arm {quoted(arm)}"


def listed(names: Iterable[object]) -> str:
    """``arm “none”`` or ``arms “l1”, “l2”``."""
    found = [quoted(name) for name in names]
    return f"arm{'s' if len(found) != 1 else ''} {', '.join(found)}"
