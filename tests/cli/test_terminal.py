"""What a person sees: numbers, tables, and progress that does not flood a log."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from regulab.progress import Beginning, Silent
from regulab.records import EpochRecord
from regulab.terminal.comparison_table import print_comparison
from regulab.terminal.consoles import duration, number_ranges, size
from regulab.terminal.progress_display import PLAIN_INTERVAL, LiveProgress, PlainProgress, progress_for


def record(arm="none", seed=0, epoch=1, accuracy: float | None = 90.0, fleet=0) -> EpochRecord:
    return EpochRecord(
        arm=arm,
        seed=seed,
        epoch=epoch,
        train_loss=1.0,
        penalty=0.0,
        train_accuracy=80.0,
        val_loss=1.0,
        val_accuracy=accuracy,
        lr=0.1,
        fleet=fleet,
        fleet_size=4,
        seconds=0.5,
    )


def beginning(arms=("none",), epochs=1, total=1, done=0) -> Beginning:
    return Beginning(
        study="s",
        directory=Path("runs/s"),
        arms=tuple(arms),
        seeds=(0,),
        epochs=epochs,
        total=total,
        done=done,
    )


def arm_row(**changes):
    row = {
        "mean": 99.0,
        "ci95": [98.5, 99.5],
        "difference": None,
        "difference_ci95": None,
        "p_adjusted": None,
        "verdict": None,
        "seeds_needed": None,
        "note": None,
    }
    return row | changes


def printed(comparison, width=200, terminal=False) -> list[str]:
    console = Console(
        file=(written := io.StringIO()), width=width, force_terminal=terminal, color_system=None
    )
    print_comparison(comparison, console)
    return written.getvalue().splitlines()


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([3], "3"), ([0, 1, 2, 7], "0–2, 7"), ([0, 2, 4, 5], "0, 2, 4–5")]
)
def test_neighbouring_numbers_are_joined(numbers, text):
    assert number_ranges(numbers) == text


def test_a_noun_is_plural_for_more_than_one():
    assert number_ranges([4], "seed") == "seed 4"
    assert number_ranges([4, 5], "seed") == "seeds 4–5"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (125, "2:05"), (3599.4, "59:59"), (3_725, "1:02:05")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (2048, "2 KiB"), (5 * 2**30, "5.0 GiB")]
)
def test_sizes(count, text):
    assert size(count) == text


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_plain_progress_says_where_the_study_is_and_how_long_it_takes():
    lines: list[str] = []
    clock = Clock()
    progress = PlainProgress(lines.append, clock)
    runs = [("none", 0), ("none", 1), ("l1", 0), ("l1", 1)]
    progress.started(beginning(("none", "l1"), 10, total=80, done=40))
    clock.now += 15.0
    progress.epoch([record(arm, seed, accuracy=90.0 + seed) for arm, seed in runs])
    clock.now += 4.0
    progress.epoch([record(arm, seed, epoch=2, accuracy=92.0) for arm, seed in runs])
    assert lines == [
        "training 80 epochs of runs, 40 of them done before",
        "epoch 1/10 of seeds 0–1; validation accuracy: “none” 90.50 %, “l1” 90.50 %; 55 % of the study",
        "epoch 2/10 of seeds 0–1; validation accuracy: “none” 92.00 %, “l1” 92.00 %; "
        "60 % of the study, 0:32 left",
    ]


def test_a_long_first_epoch_tells_the_time_left():
    lines: list[str] = []
    clock = Clock()
    progress = PlainProgress(lines.append, clock)
    progress.started(beginning(("none",), 10, total=10))
    clock.now += 60.0
    progress.epoch([record()])
    assert lines[-1].endswith("10 % of the study, 9:00 left")


def test_plain_progress_writes_at_most_every_few_seconds_but_always_the_last_epoch():
    lines: list[str] = []
    clock = Clock()
    progress = PlainProgress(lines.append, clock)
    progress.started(beginning(("none",), 300, total=300))
    for epoch in range(1, 301):
        clock.now += 0.1
        progress.epoch([record(epoch=epoch)])
    assert len(lines) <= 3 + 30 / PLAIN_INTERVAL
    assert lines[-1].startswith("epoch 300/300")
    assert "100 % of the study, 0:00 left" in lines[-1]


def test_plain_progress_shows_no_accuracy_of_a_diverged_arm():
    lines: list[str] = []
    progress = PlainProgress(lines.append, Clock())
    progress.started(beginning(("none", "l1"), 1, total=2))
    progress.epoch([record("none"), record("l1", accuracy=None)])
    assert "validation accuracy: “none” 90.00 %; 100 %" in lines[-1]


def test_live_progress_draws_every_arm_and_stops_twice_without_harm():
    console = Console(file=(written := io.StringIO()), force_terminal=True, width=120, height=30)
    progress = LiveProgress(console)
    progress.started(beginning(("none", "[bold]l1[/bold]"), 2, total=8))
    progress.epoch([record("none", 0, accuracy=97.5), record("[bold]l1[/bold]", 0, accuracy=None)])
    progress.message("resumed [at] epoch 1")
    progress.epoch([record("none", 3, 2, 98.25, fleet=1), record("[bold]l1[/bold]", 3, 2, 96.0, fleet=1)])
    progress.finished(KeyboardInterrupt())
    progress.finished(KeyboardInterrupt())
    text = written.getvalue()
    assert "resumed [at] epoch 1" in text
    last = text[text.rindex("validation accuracy") :]
    assert "98.25 %" in last
    assert "[bold]l1[/bold]" in last
    assert "4/8" in last


def test_progress_is_plain_off_a_terminal_and_silent_when_asked(capsys):
    assert isinstance(progress_for(quiet=True), Silent)
    progress = progress_for(quiet=False)
    assert isinstance(progress, PlainProgress)
    progress.message("hello")
    assert capsys.readouterr() == ("", "hello\n")


COMPARISON = {
    "rule": "fixed",
    "e_threshold": None,
    "looks": None,
    "metric": "test_accuracy",
    "epoch": "final",
    "protocol": "holdout",
    "baseline": "none",
    "seeds": [0, 1, 2],
    "note": "the margin is one test image",
    "arms": {
        "none": arm_row(),
        "l1": arm_row(
            difference=-0.5, difference_ci95=[-0.75, -0.25], p_adjusted=0.0123, verdict="worse", note="few"
        ),
        "l2": arm_row(difference=0.0, verdict="undecided", seeds_needed=31, note="few"),
        "[red]x": arm_row(mean=None, ci95=None, verdict="diverged"),
    },
}


def test_the_table_has_a_row_an_arm_with_interval_difference_and_verdict():
    lines = printed(COMPARISON)
    assert lines[0].strip() == "test_accuracy in %, final epoch, holdout, seeds 0–2"
    rows = {line.split()[0]: line.split() for line in lines if line.strip()}
    assert " ".join(rows["none"]) == "none 99.00 98.50 … 99.50 baseline"
    assert " ".join(rows["l1"]) == "l1 99.00 98.50 … 99.50 -0.50 -0.75 … -0.25 0.0123 worse"
    assert " ".join(rows["l2"]) == "l2 99.00 98.50 … 99.50 +0.00 – – undecided"
    assert " ".join(rows["[red]x"]) == "[red]x – – – – – diverged"
    assert lines[-3:] == [
        "the margin is one test image",
        "arms “l1”, “l2”: few",
        "arm “l2”: 31 seeds would find a true difference of one margin 4 times in 5",
    ]


def test_the_table_of_the_assignment_fits_a_terminal_of_80_columns():
    row = arm_row(difference=-10.5, difference_ci95=[-26.75, -20.25], p_adjusted=0.0123, verdict="equivalent")
    comparison = COMPARISON | {"arms": {"none": arm_row(), "l1+l2": row}}
    lines = printed(comparison, width=80, terminal=True)
    assert max(map(len, lines)) <= 80
    assert any(
        "l1+l2" in line and line.rstrip().endswith("equivalent") and "-20.25" in line for line in lines
    )


def test_losses_keep_their_digits():
    row = arm_row(mean=0.031234, ci95=[0.0301, 0.0333], difference=-0.00123, verdict="better")
    lines = printed(COMPARISON | {"metric": "test_loss", "arms": {"none": arm_row(), "l1": row}})
    assert lines[0].strip().startswith("test_loss, final epoch")
    assert any("0.03123 0.0301 … 0.0333 -0.00123" in " ".join(line.split()) for line in lines)


def test_under_the_sequential_rule_e_stands_against_its_threshold():
    row = arm_row(ci95=None, difference=-0.5, verdict="worse") | {
        "e": 28.444,
        "e_equivalent": 0.1,
        "looked_at": 8,
    }
    nothing = {"e": None, "e_equivalent": None, "looked_at": None}
    arms = {"none": arm_row(ci95=None) | nothing, "l1": row}
    lines = printed(COMPARISON | {"rule": "sequential", "e_threshold": 20.0, "looks": 2, "arms": arms})
    rows = {line.split()[0]: " ".join(line.split()) for line in lines if line.strip()}
    assert "e differs (≥ 20)" in rows["arm"]
    assert rows["l1"] == "l1 99.00 -0.50 8 28.4 0.1 worse"
    assert rows["none"] == "none 99.00 baseline"
    assert "looks so far: 2" in lines[-1]


def test_live_progress_goes_on_with_more_seeds():
    console = Console(file=(written := io.StringIO()), force_terminal=True, width=120, height=30)
    progress = LiveProgress(console)
    for total in (2, 4):
        progress.started(beginning(("none",), 1, total=total, done=total - 2))
        progress.epoch([record("none", total)])
    progress.finished(KeyboardInterrupt())
    assert "3/4" in written.getvalue()
