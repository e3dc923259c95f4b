"""Main effects and interactions of a factorial as a person reads them in a terminal, below the table of arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from regulab.statistics.effect_words import effect_notes, effect_title, told
from regulab.wording import NAME_LIMIT, one_line, visible

STYLES = {"better": "green", "worse": "red", "equivalent": "cyan"}
STYLES |= {"synergistic": "green", "antagonistic": "red", "additive": "cyan", "diverged": "bold red"}
COLUMNS = ("effect", "points", "95 % interval", "p (adj.)", "verdict")


def print_effects(comparison: Mapping[str, Any], console: Console) -> None:
    """Nothing where the arms are no full factorial. The mapping is that of ``compare --json``."""
    if "interactions" not in comparison:
        return
    effects = [*comparison["main_effects"], *comparison["interactions"]]
    table = _table(comparison["metric"], [_cells(effect, comparison["metric"]) for effect in effects])
    unlimited = console.options.update(max_width=10_000)
    title = Text(effects_headline(comparison))
    if Measurement.get(console, unlimited, table).minimum <= console.width:
        table.title = title
        console.print(table)
    else:
        console.print(title)
        for effect in effects:
            name, *numbers, verdict = _cells(effect, comparison["metric"])
            console.print(Text.assemble("\n", name, ": ", (verdict, STYLES.get(verdict, ""))))
            console.print(Text("  " + ", ".join(number for number in numbers if number != "–")))
    for line in effects_notes(comparison):
        console.print(line, markup=False, soft_wrap=not console.is_terminal)


def effects_headline(comparison: Mapping[str, Any]) -> str:
    """``Factors: l1 (no l1, l1) × l2 (no l2, l2)``."""
    factors = [
        f"{one_line(name, NAME_LIMIT)} ({', '.join(one_line(level, NAME_LIMIT) for level in levels)})"
        for name, levels in comparison["factors"].items()
    ]
    return f"Factors: {' × '.join(factors)}"


def effects_notes(comparison: Mapping[str, Any]) -> list[str]:
    """The interactions in sentences, how the family is judged, and what keeps effects from being judged."""
    interactions = comparison["interactions"]
    effects = [*comparison["main_effects"], *interactions]
    lines = told([effect["words"] for effect in interactions])
    if any(effect["p_adjusted"] is not None for effect in effects):
        lines.append(
            f"main effects are means over the levels of the other factors; the {len(effects)} effects are one family "
            "of tests, apart from the arms above"
        )
    lines += effect_notes((_title(effect), effect["note"], effect["seeds_needed"]) for effect in effects)
    return [visible(line, isolates=True) for line in lines]


def _cells(effect: Mapping[str, Any], metric: str) -> list[str]:
    """Name, difference, interval, p and verdict."""
    p = "–" if effect["p_adjusted"] is None else f"{effect['p_adjusted']:.3g}"
    interval = effect["difference_ci95"]
    shown = "–" if interval is None else " … ".join(_number(end, metric) for end in interval)
    verdict = effect["verdict"] or "–"
    return [_title(effect), _number(effect["difference"], metric), shown, p, verdict]


def _title(effect: Mapping[str, Any]) -> str:
    return effect_title(effect["name"], effect["first"])


def _table(metric: str, rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        justify: Literal["left", "right"] = "left" if column in ("effect", "verdict") else "right"
        accuracy = metric.endswith("accuracy")
        heading = "difference" if column == "points" and not accuracy else column
        table.add_column(Text(heading), justify=justify, no_wrap=column in ("p (adj.)", "verdict"))
    for name, *numbers, verdict in rows:
        table.add_row(Text(name), *numbers, Text(verdict, style=STYLES.get(verdict, "")))
    return table


def _number(value: float | None, metric: str) -> str:
    if value is None:
        return "–"
    return f"{value:+.2f}" if metric.endswith("accuracy") else f"{value:+.4g}"
