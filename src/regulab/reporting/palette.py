"""One style of line per arm, the same everywhere: told apart by colour, by line and in grey.

Colours are Okabe and Ito's for all kinds of colour vision (2008), without their yellow, which white paper
swallows. The baseline is neutral and dark. Lines differ as well, so that neither colour-blind readers
nor a grey printer depend on colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regulab.records import StudyRecords

BASELINE = "#2b2b2b"
BASELINE_DARK = "#e6edf3"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# The same hues on dark ground, each with a contrast of 4.5 or more against it.
COLOURS_DARK = ("#3d9fe0", "#f07f3c", "#1fbf8f", "#d995bd", "#e69f00", "#9bd6f7")
# On and off lengths in line widths. A solid line lies under dashed ones, so that equal curves all show.
DASHES: tuple[tuple[float, ...], ...] = (
    (6.0, 2.2),
    (2.6, 1.6),
    (7.0, 1.6, 1.6, 1.6),
    (1.2, 1.4),
    (9.0, 3.0),
    (4.5, 1.4, 1.2, 1.4, 1.2, 1.4),
    (3.2, 3.2),
)
MARKERS = ("", "o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True, kw_only=True)
class LineStyle:
    """How one arm is drawn. ``dashes`` None is a solid line; ``marker`` is set once the colours repeat."""

    colour: str
    dark: str  # the colour on dark ground
    dashes: tuple[float, ...] | None
    marker: str
    width: float


def line_styles(records: StudyRecords) -> Mapping[str, LineStyle]:
    """Arm -> style, by the order of the study file; adding an arm at the end changes no other arm's.

    The study's own baseline is the neutral one, whichever arm a comparison takes as baseline.
    """
    others = [arm for arm in records.arms if arm != records.study["baseline"]]
    found = {
        records.study["baseline"]: LineStyle(
            colour=BASELINE, dark=BASELINE_DARK, dashes=None, marker="", width=2.6
        )
    }
    for index, arm in enumerate(others):
        found[arm] = LineStyle(
            colour=COLOURS[index % len(COLOURS)],
            dark=COLOURS_DARK[index % len(COLOURS)],
            dashes=DASHES[index % len(DASHES)],
            marker=MARKERS[(index // len(COLOURS)) % len(MARKERS)],
            width=1.9,
        )
    return found
