"""Numbers that stand side by side while a study trains are of the same seeds, or say which they are of."""

from __future__ import annotations

import io

from rich.console import Console

from regulab.terminal.progress_display import LiveProgress, PlainProgress
from tests.cli.test_terminal import Clock, beginning, record


def line_of(*epochs) -> str:
    lines: list[str] = []
    progress = PlainProgress(lines.append, Clock())
    progress.started(beginning(("none", "l1", "l2"), epochs=2, total=100))
    for records in epochs:
        progress.epoch(records)
    return lines[-1]


def table_of(*epochs) -> dict[str, list[str]]:
    console = Console(
        file=(written := io.StringIO()), force_terminal=True, width=100, height=30, color_system=None
    )
    progress = LiveProgress(console)
    progress.started(beginning(("none", "l1", "l2"), epochs=2, total=100))
    for records in epochs:
        progress.epoch(records)
    console.print(progress._render())
    progress.finished(KeyboardInterrupt())
    text = written.getvalue()
    rows = [row.split() for row in text[text.rindex("validation accuracy") :].splitlines()]
    return {row[0]: row[1:] for row in rows if row and row[0] in ("none", "l1", "l2")}


def test_a_fleet_with_fewer_arms_shows_its_own_only():
    whole = [record(arm, seed, 2, 97.0) for arm in ("none", "l1", "l2") for seed in (0, 1)]
    fewer = [record(arm, 5, 2, 91.0, fleet=1) for arm in ("none", "l1")]
    line = line_of(whole, fewer)
    assert "of seed 5; validation accuracy: “none” 91.00 %, “l1” 91.00 %; " in line
    assert table_of(whole, fewer) == {
        "none": ["5", "2/2", "91.00", "%"],
        "l1": ["5", "2/2", "91.00", "%"],
        "l2": ["–", "0/2", "–"],
    }


def test_plain_runs_show_no_other_seed():
    runs = [
        [record("none", 2, 2, 97.0, fleet=0)],
        [record("l1", 2, 2, 96.0, fleet=1)],
        [record("none", 3, 2, 98.0, fleet=2)],
        [record("l1", 3, 1, 80.0, fleet=3)],
    ]
    assert "epoch 2/2 of seed 3; validation accuracy: “none” 98.00 %; " in line_of(*runs[:3])
    assert table_of(*runs[:3])["l1"] == ["–", "0/2", "–"], "not the 96 % of seed 2"
    assert table_of(*runs) == {
        "none": ["3", "2/2", "98.00", "%"],
        "l1": ["3", "1/2", "80.00", "%"],
        "l2": ["–", "0/2", "–"],
    }


def test_an_arm_with_other_seeds_in_the_same_fleet_says_which():
    mixed = [record("none", 0, 1, 90.0), record("none", 1, 1, 92.0), record("l1", 1, 1, 94.0)]
    assert "of seeds 0–1; validation accuracy: “none” 91.00 %, “l1” 94.00 % (seed 1); " in line_of(mixed)
    assert table_of(mixed)["l1"] == ["1", "1/2", "94.00", "%"]


def test_runs_that_ended_are_not_mixed_with_those_that_go_on():
    first = [record("none", 0, 1, 50.0), record("none", 1, 1, 90.0)]
    second = [record("none", 1, 2, 92.0)]  # seed 0 stopped early
    assert table_of(first, second)["none"] == ["1", "2/2", "92.00", "%"]
    diverged = [record("none", 0, 2, None), record("none", 1, 2, 92.0), record("l1", 0, 2, None)]
    assert table_of(first, diverged)["none"] == ["1", "2/2", "92.00", "%"]
    assert table_of(first, diverged)["l1"] == ["–", "2/2", "–"]
    assert "“none” 92.00 % (seed 1); " in line_of(diverged)
