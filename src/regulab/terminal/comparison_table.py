"""A comparison as a person reads it in a terminal: the table of ``compare``, and the notes below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from regulab.statistics.validation_check import check_sentence
from regulab.terminal.consoles import number_ranges
from regulab.terminal.effects_table import print_effects
from regulab.wording import NAME_LIMIT, NOTE_LIMIT, e_values, listed, named, one_line, quoted, visible

VERDICT_STYLES = {"better": "green", "worse": "red", "diverged": "bold red", "equivalent": "cyan"}
ASSUMED = (
    "sign flips take differences for symmetric about 0 (about the margin either way for equivalence) in all arms "
    "together; a false difference is held at 5 % over all arms, and so is a false equivalence, each by itself"
)


def print_comparison(comparison: Mapping[str, Any], console: Console) -> None:
    """The mapping of ``compare --json`` for people: one row per arm, with notes below, and what factors do where the
    arms are a full factorial. Where the columns do not fit the console, an arm's numbers are printed under its name
    instead, so that none is cut off.
    """
    sequential = comparison["rule"] == "sequential"
    numbers = _sequential_columns(comparison) if sequential else _fixed_columns(comparison["baseline"])
    columns = ["arm", "mean", *numbers, "verdict"]
    rows = [_cells(comparison, name, sequential=sequential) for name in comparison["arms"]]
    table = _table(columns, rows)
    unlimited = console.options.update(max_width=10_000)
    if Measurement.get(console, unlimited, table).minimum <= console.width:
        table.title = Text(headline(comparison))
        console.print(table)
    else:
        console.print(Text(headline(comparison)))
        _print_stacked(columns, rows, console)
    for note in comparison_notes(comparison):
        console.print(note, markup=False, soft_wrap=not console.is_terminal)
    print_effects(comparison, console)


def print_lines(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(line, markup=False, soft_wrap=not console.is_terminal)


def print_warnings(comparison: Mapping[str, Any], console: Console) -> None:
    """What to read before the verdicts; last, where a terminal's reader looks first."""
    for warning in comparison.get("warnings", ()):
        text = Text.assemble(("read first: ", "bold yellow"), visible(warning, isolates=True))
        console.print(text, soft_wrap=not console.is_terminal)


def print_answer(comparison: Mapping[str, Any], console: Console) -> None:
    """What was asked and what was found, in a paragraph of its own: the last that is printed of a comparison."""
    text = visible(comparison["answer"], isolates=True)
    console.print(f"\n{text}", markup=False, soft_wrap=not console.is_terminal)


def print_training_notes(environment: Mapping[str, Any], console: Console) -> None:
    """What was notable in training, as the pages say it: a line for each note."""
    for note in environment.get("notes", ()):
        said = one_line(note, NOTE_LIMIT)
        line = said if said.startswith("data: ") else f"training: {said}"  # of the files, not of training
        console.print(line, markup=False, soft_wrap=not console.is_terminal)


def headline(comparison: Mapping[str, Any]) -> str:
    """What is compared: ``test_accuracy in %, final epoch, holdout, seeds 0–2``."""
    metric = comparison["metric"]
    seeds = number_ranges(comparison["seeds"], "seed") if comparison["seeds"] else "no seeds yet"
    unit = " in %" if metric.endswith("accuracy") else ""
    return ", ".join((f"{metric}{unit}", f"{comparison['epoch']} epoch", comparison["protocol"], seeds))


def _cells(comparison: Mapping[str, Any], name: str, *, sequential: bool) -> list[str]:
    """An arm's cells, in the order of the columns."""
    arm, metric, baseline = comparison["arms"][name], comparison["metric"], comparison["baseline"]
    own, against = _sequential_cells(arm, metric) if sequential else _fixed_cells(arm, metric)
    if name == baseline:
        against = [""] * len(against)
    verdict = "baseline" if name == baseline else arm["verdict"] or "–"
    return [one_line(name, NAME_LIMIT), _number(arm["mean"], metric), *own, *against, verdict]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        justify: Literal["left", "right"] = "left" if column in ("arm", "verdict") else "right"
        table.add_column(Text(column), justify=justify, no_wrap=column in ("mean", "p (adj.)", "verdict"))
    for name, *cells, verdict in rows:
        table.add_row(Text(name), *cells, Text(verdict, style=VERDICT_STYLES.get(verdict, "")))
    return table


def _print_stacked(columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """An arm a paragraph: its name and verdict, and a line for each number."""
    for name, *cells, verdict in rows:
        console.print(Text.assemble("\n", named(name), ": ", (verdict, VERDICT_STYLES.get(verdict, ""))))
        for column, cell in zip(columns[1:-1], cells, strict=True):
            if cell:
                console.print(Text(f"  {column}: {cell}"))


def _fixed_columns(baseline: str) -> list[str]:
    return ["95 % interval", f"− {quoted(baseline)}", "95 % interval", "p (adj.)"]


def _fixed_cells(arm: Mapping[str, Any], metric: str) -> tuple[list[str], list[str]]:
    """What stands for the arm itself, and what for its comparison with the baseline."""
    p = "–" if arm["p_adjusted"] is None else f"{arm['p_adjusted']:.3g}"
    difference = _number(arm["difference"], metric, "+")
    return [_interval(arm["ci95"], metric)], [difference, _interval(arm["difference_ci95"], metric, "+"), p]


def _sequential_columns(comparison: Mapping[str, Any]) -> list[str]:
    """e-values stand against their threshold, which is the same for all arms."""
    threshold = f"{comparison['e_threshold']:.4g}"
    return [
        f"− {quoted(comparison['baseline'])}",
        "pairs",
        f"e differs (≥ {threshold})",
        f"e equal (≥ {threshold})",
    ]


def _sequential_cells(arm: Mapping[str, Any], metric: str) -> tuple[list[str], list[str]]:
    pairs = "–" if arm["looked_at"] is None else str(arm["looked_at"])
    evidence = ["–" if arm[key] is None else f"{arm[key]:.3g}" for key in ("e", "e_equivalent")]
    return [], [_number(arm["difference"], metric, "+"), pairs, *evidence]


def comparison_notes(comparison: Mapping[str, Any]) -> list[str]:
    """The comparison's own note, then each arm's; arms with the same note share a line."""
    sharing: dict[str, list[str]] = {}
    for name, arm in comparison["arms"].items():
        needed = arm["seeds_needed"]
        for note in (
            arm["note"],
            f"{needed} seeds would find a true difference of one margin 4 times in 5" if needed else None,
        ):
            if note:
                sharing.setdefault(note, []).append(name)
    sequential = comparison["rule"] == "sequential"
    own = (
        []
        if sequential or not any(arm["p_adjusted"] is not None for arm in comparison["arms"].values())
        else [ASSUMED]
    )
    own += [comparison["note"]] if comparison["note"] else []
    first = comparison.get("first_look")
    if first:
        verdicts = ", ".join(
            f"{quoted(name)} {verdict or '–'}" for name, verdict in first["verdicts"].items()
        )
        own.append(f"the look at {number_ranges(sorted(first['seeds']), 'seed')} said: {verdicts}")
    if sequential:
        own.append(
            f"judged by {e_values(comparison.get('e_value'))}, which may be looked at while seeds are added "
            f"(looks so far: {comparison['looks']}); p and intervals would not hold"
        )
    own += _on_other_images(comparison)
    return [
        visible(note, isolates=True)
        for note in own + [f"{listed(names)}: {note}" for note, names in sharing.items()]
    ]


def _on_other_images(comparison: Mapping[str, Any]) -> list[str]:
    """What the differences are worth on other images than these test images; absent from older JSON."""
    arms, metric = comparison["arms"], comparison["metric"]
    wider = {name: arm.get("difference_ci95_images") for name, arm in arms.items()}
    told = ", ".join(f"{quoted(name)} {_interval(one, metric, '+')}" for name, one in wider.items() if one)
    found = (
        [f"95 % intervals of the differences for other test images too, not these alone: {told}"]
        if told
        else []
    )
    check = comparison.get("validation_check")
    if check:
        found.append(check_sentence(check, {name: arm["verdict"] for name, arm in arms.items()}))
    return found


def _number(value: float | None, metric: str, sign: str = "") -> str:
    """Accuracies to a hundredth of a point, all else to four significant digits."""
    if value is None:
        return "–"
    return f"{value:{sign}.2f}" if metric.endswith("accuracy") else f"{value:{sign}.4g}"


def _interval(interval: Sequence[float] | None, metric: str, sign: str = "") -> str:
    if interval is None:
        return "–"
    low, high = (_number(end, metric, sign) for end in interval)
    return f"{low} … {high}"
