"""What the pages print, without drawing a picture."""

from __future__ import annotations

from regulab.records import StudyRecords
from regulab.reporting.data import ReportData
from regulab.reporting.figure import DrawnPicture
from regulab.reporting.pages import Pages, figures


def pages_of(records: StudyRecords) -> Pages:
    """As `write_report` makes them, with empty pictures."""
    data = ReportData(records)
    blank = {
        one.name: [DrawnPicture(drawing=drawing, content=b"") for drawing in one.drawings(data)]
        for one in figures()
    }
    return Pages(data, blank)
