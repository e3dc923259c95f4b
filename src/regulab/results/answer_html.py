"""The answer as a notebook shows it, and the picture of the differences below it."""

from __future__ import annotations

from markupsafe import Markup

from regulab.reporting.data import ReportData
from regulab.reporting.figure import DrawnPicture
from regulab.reporting.figures import differences
from regulab.reporting.rendering import render
from regulab.statistics import Comparison
from regulab.statistics.answer import sentences
from regulab.wording import visible


def answer_html(comparison: Comparison) -> Markup:
    """The paragraph, what was found in bold."""
    parts = []
    for one in sentences(comparison):
        lead = Markup("<b>{}</b>").format(_shown(one.lead)) if one.lead else Markup("")
        parts.append(lead + _shown(one.text))
    return Markup("<p>{}</p>").format(Markup(" ").join(parts))


def differences_html(data: ReportData) -> Markup:
    """The picture of paired differences, empty where no arm has two pairs."""
    found = Markup("")
    for drawing in differences.drawings(data):
        picture = DrawnPicture(drawing=drawing, content=render(drawing.draw(), drawing.kinds[-1]))
        image = '<p><img src="{}" alt="{}" style="max-width: 46rem; width: 100%"><br><small>{}</small></p>'
        found += Markup(image).format(picture.inline, drawing.alternative, drawing.words)
    return found


def _shown(text: str) -> str:
    return visible(text, isolates=True)
