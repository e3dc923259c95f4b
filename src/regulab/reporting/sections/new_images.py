"""What the differences are worth on other images: intervals with images random, and the check on validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regulab.reporting.data import ReportData
from regulab.reporting.naming import legend
from regulab.reporting.section import Printed, Section
from regulab.reporting.tables import NOTHING, Line, decimals, interval, number
from regulab.statistics import Comparison
from regulab.statistics.validation_check import check_sentence

PAGE = """\
{{ html.lines(columns, lines, words) }}
"""
README = """\
{{ markdown.lines(columns, lines) -}}
{{ words | md }}
"""
INTERVALS = (
    "The first interval is for other seeds on these test images, the second for other test images too: both are samples "
    "(two-way random effects, Satterthwaite's degrees of freedom, never narrower than the first)."
)


def content(data: ReportData) -> Mapping[str, Any]:
    check = data.comparison.validation_check
    columns = ["arm", "difference", "95 %: other seeds", "95 %: other seeds and images", "verdict"]
    columns += [] if check is None else ["difference on validation", "95 %: other seeds", "verdict there"]
    return {
        "columns": columns,
        "lines": [_line(data, arm) for arm in data.comparison.arms if arm != data.comparison.baseline],
        "words": words(data.comparison),
    }


def words(comparison: Comparison) -> str:
    """How to read the intervals, and what the check says."""
    parts = [INTERVALS] if any(one.difference_ci95_images for one in comparison.arms.values()) else []
    check = comparison.validation_check
    if check is not None:
        said = check_sentence(check.to_json(), {arm: one.verdict for arm, one in comparison.arms.items()})
        parts.append(f"{said[0].upper()}{said[1:]}.")
        parts.append(
            "Strengths and epochs that were chosen by validation look better there than they are, which is why it "
            "never decides."
        )
    return " ".join(parts)


def _line(data: ReportData, arm: str) -> Line:
    one, check, places = (
        data.comparison.arms[arm],
        data.comparison.validation_check,
        decimals(data.comparison),
    )
    cells = [
        number(one.difference, places, sign=True),
        interval(one.difference_ci95, places, sign=True),
        interval(one.difference_ci95_images, places, sign=True),
        one.verdict or NOTHING,
    ]
    if check is not None:
        there = check.arms[arm]
        cells += [
            number(there.difference, places, sign=True),
            interval(there.difference_ci95, places, sign=True),
            there.verdict or NOTHING,
        ]
    return Line(legend(data.records, arm), tuple(cells))


def _shown(data: ReportData) -> bool:
    return bool(words(data.comparison))


SECTION = Section(
    name="new-images",
    title="On other images",
    content=content,
    page=Printed(order=85, template=PAGE),
    readme=Printed(order=65, template=README),
    shown=_shown,
)
