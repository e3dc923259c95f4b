"""What the numbers say of each arm, in the report's own sentences."""

from __future__ import annotations

from markupsafe import Markup

from regulab.reporting.data import ReportData
from regulab.reporting.observations import notes, observe


class Observations(str):
    """The text: a paragraph an arm under its heading, then what holds for every arm. A notebook shows it as HTML."""

    _html: str

    @classmethod
    def of(cls, data: ReportData) -> Observations:
        paragraphs = [(one.heading, " ".join(one.sentences)) for one in observe(data)]
        general = notes(data.records, data.comparison)
        first = data.comparison.warnings
        parts = [f"First of all: {warning}" for warning in first]
        parts += [f"{heading}\n{text}" for heading, text in paragraphs] + [f"- {note}" for note in general]
        text = cls("\n\n".join(parts))
        shown = [Markup("<h4>{}</h4><p>{}</p>").format(heading, said) for heading, said in paragraphs]
        items = Markup("").join(Markup("<li>{}</li>").format(note) for note in general)
        shown = [*(Markup("<p><b>First of all:</b> {}</p>").format(warning) for warning in first), *shown]
        text._html = str(Markup("").join(shown) + Markup("<ul>{}</ul>").format(items))
        return text

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return self._html
