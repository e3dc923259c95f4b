"""Figures as bytes that are the same every time, and text that matplotlib prints literally."""

from __future__ import annotations

import io
from typing import Any, Literal

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from regulab.reporting.fonts import DEFAULT, families

DOTS_PER_INCH = 160  # ten inches wide, shown in the 800 pixels of a README: two dots a pixel
MOST_SHADES = 4096
INK, FAINT = "#1f2328", "#d0d7de"

_SETTINGS: Any = {
    "svg.hashsalt": "regulab",
    "svg.fonttype": "path",
    "font.family": DEFAULT,
    "path.simplify": True,
}


def render(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """The figure as a file's content, without date or program version: same records, same bytes."""
    buffer = io.BytesIO()
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


def with_palette(png: bytes) -> bytes:
    """The picture with 256 colours, a third of the size; unchanged where it has more colours than lines and letters
    need. A drawing of lines has few colours and their shades towards the background, for which 256 suffice; a
    photograph has more.
    """
    with Image.open(io.BytesIO(png)) as image:
        plain = image.convert("RGB")
    if plain.getcolors(MOST_SHADES) is None:
        return png
    buffer = io.BytesIO()
    few = plain.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def verbatim(text: Text) -> Text:
    """Keeps matplotlib from reading ``$…$`` as mathematics, and gives it the fonts that have the text's glyphs."""
    text.set_parse_math(False)
    text.set_fontfamily(list(families(text.get_text()) or (DEFAULT,)))
    return text
