"""What factors do, as a notebook shows it below the table of arms."""

from __future__ import annotations

from markupsafe import Markup

from regulab.reporting.effects import (
    effect_columns,
    effect_explanation,
    effect_lines,
    effect_sentences,
    notes_on_effects,
)
from regulab.statistics import Comparison


def effects_html(comparison: Comparison) -> Markup:
    """Empty where the arms are no full factorial."""
    if comparison.factorial is None:
        return Markup("")
    head = Markup("").join(Markup("<th>{}</th>").format(one) for one in effect_columns(comparison))
    body = Markup("")
    for line in effect_lines(comparison):
        cells = Markup("").join(Markup("<td>{}</td>").format(cell) for cell in line.cells)
        body += Markup("<tr><th><bdi>{}</bdi></th>{}</tr>").format(line.arm, cells)
    table = Markup("<table><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table>")
    said = [*effect_sentences(comparison), *notes_on_effects(comparison)]
    return table.format(effect_explanation(comparison), head, body) + Markup("").join(
        Markup("<p>{}</p>").format(one) for one in said
    )
