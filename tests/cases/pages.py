"""What the pages print, without drawing a picture."""

from __future__ import annotations

from typing import Any, get_args

from regulab.records import StudyRecords
from regulab.reporting import curves, galleries, naming, page
from regulab.reporting.mistakes import select
from regulab.statistics import compare


def context_of(records: StudyRecords) -> dict[str, Any]:
    """As `write_report` makes it, with empty pictures."""
    names = naming.class_names(records)
    shown = []
    for arm in records.arms:
        selection = select(records, arm)
        picture = page.Picture(
            path="g.png", raster="g.png", content=b"", alternative=galleries.alternative(selection, names)
        )
        heading = naming.heading(records, arm)
        shown.append(page.Gallery(heading=heading, picture=picture, selection=selection))
    drawn = [
        page.Picture(
            path=f"{measure}.svg",
            raster=f"{measure}.png",
            content=b"",
            alternative=curves.alternative(records, measure),
        )
        for measure in get_args(curves.Shown)
    ]
    return page.context(records, compare(records), drawn, shown, [])
