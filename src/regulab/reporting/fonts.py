"""Fonts for names in any script: which installed font, if any, has the glyphs that DejaVu Sans lacks."""

from __future__ import annotations

import unicodedata
from functools import cache

from fontTools.ttLib import TTFont, TTLibError
from matplotlib import font_manager, ft2font

DEFAULT = "DejaVu Sans"  # comes with matplotlib, so the same on every machine
_PLACEHOLDERS = (
    "Last Resort",
    "Adobe Blank",
    "Unicode BMP Fallback",
    "GNU Unifont",
)  # a box for every character
_OUTLINES = {"glyf", "CFF ", "CFF2"}  # matplotlib draws these; bitmaps, as of coloured emoji, it does not
_SHAPES = hasattr(ft2font, "__libraqm_version__")  # joins and reorders letters, from matplotlib 3.11
_MARKS, _RIGHT_TO_LEFT = ("Mn", "Mc"), ("R", "AL", "AN")


def drawable(text: str) -> bool:
    """Whether pictures can show the text with every glyph, in its order and joined as its script wants it."""
    return families(text) is not None


def families(text: str) -> tuple[str, ...] | None:
    """The font families that together have all glyphs of ``text``, the default first; None where some has none.

    Only fonts that matplotlib lists count, those that draw outlines, and not those of placeholders for every character.
    """
    if not _SHAPES and any(_needs_shaping(character) for character in text):
        return None
    missing = {ord(c) for c in text if ord(c) not in _default() and not _invisible(c)}
    found = [DEFAULT]
    while missing:
        best = _covering(frozenset(missing))
        if best is None:
            return None
        found.append(best)
        missing -= _characters_of(best)
    return tuple(found)


@cache
def _covering(missing: frozenset[int]) -> str | None:
    """The family that has most of these characters; of equal ones, a Noto Sans, then the first by name."""
    counts = {name: len(missing & _characters_of(name)) for name in _installed()}
    best = max(
        counts, key=lambda name: (counts[name], name.startswith("Noto Sans"), _backwards(name)), default=None
    )
    return best if best is not None and counts[best] else None


def _backwards(name: str) -> tuple[int, ...]:
    return tuple(-ord(c) for c in name)


def _installed() -> set[str]:
    """Families with an upright font of ordinary weight and width."""
    plain = {
        font.name
        for font in font_manager.fontManager.ttflist
        if font.style == "normal" and font.stretch == "normal" and font.weight in (400, "normal", "regular")
    }
    return {name for name in plain if name != DEFAULT and not name.startswith(_PLACEHOLDERS)}


@cache
def _default() -> frozenset[int]:
    return _characters(font_manager.findfont(DEFAULT))


@cache
def _characters_of(family: str) -> frozenset[int]:
    """Of the file that matplotlib takes for the family."""
    try:
        return _characters(font_manager.findfont(family, fallback_to_default=False))
    except ValueError:
        return frozenset()


@cache
def _characters(path: str) -> frozenset[int]:
    """The code points that a font file draws; none where it cannot be read, or holds bitmaps only."""
    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            return frozenset(font.getBestCmap() or ()) if _OUTLINES & set(font.keys()) else frozenset()
    except (OSError, TTLibError, ValueError, AssertionError):
        return frozenset()


def _invisible(character: str) -> bool:
    """What has no glyph of its own: joiners, marks of direction, selectors of variants."""
    return unicodedata.category(character) == "Cf" or 0xFE00 <= ord(character) <= 0xFE0F


def _needs_shaping(character: str) -> bool:
    return unicodedata.category(character) in _MARKS or unicodedata.bidirectional(character) in _RIGHT_TO_LEFT
