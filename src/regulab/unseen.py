"""Characters that a reader does not see or that reorder what is read, and two ways to show them.

What counts as unseen is the same everywhere; the exceptions depend on where the text goes: names and messages keep what
spelling needs, sentences and pages also tabs and line ends.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

# Control characters, halves of pairs (bytes that are no UTF-8), format characters, separators of lines and paragraphs.
CATEGORIES = ("Cc", "Cs", "Cf", "Zl", "Zp")
JOINERS = frozenset("\u200c\u200d")  # Persian, Hindi and emoji are spelt with them
# Marks of direction, whose effect ends with the line, and the tags that make flags of regions (England) of a black one.
SPELLING = JOINERS | frozenset("\u200e\u200f\u061c") | frozenset(map(chr, range(0xE0020, 0xE0080)))
LINES = SPELLING | frozenset("\t\n\u2028\u2029")
# Embeddings, overrides and isolates turn their neighbours around; the separators end the line.
REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")


def unseen(character: str, spared: Collection[str] = JOINERS) -> bool:
    """Whether a character has no picture of its own, or moves others; those of ``spared`` do not count."""
    return unicodedata.category(character) in CATEGORIES and character not in spared


def escaped(text: str, spared: Collection[str] = JOINERS) -> str:
    r"""Unseen characters as Python writes them: ESC as ``\x1b``."""
    return "".join(c.encode("unicode_escape").decode() if unseen(c, spared) else c for c in text)


def numbered(text: str, spared: Collection[str] = LINES) -> str:
    """Unseen characters by their numbers: ESC as ``[U+001B]``, which is no escape in LaTeX, Markdown or CSV."""
    return "".join(f"[U+{ord(c):04X}]" if unseen(c, spared) else c for c in text)
