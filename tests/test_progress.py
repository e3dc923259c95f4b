"""Who listens to a study learns what is trained, how it went, and how it ended; several may listen."""

from __future__ import annotations

import io
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import regulab.study
from regulab.cli.watching import GuardedProgress
from regulab.config import Study, build_study
from regulab.progress import Beginning, Outcome, Several, Silent, reading_of
from regulab.terminal.progress_display import LiveProgress, PlainProgress

BEGINNING = Beginning(
    study="s", directory=Path("runs/s"), arms=("none",), seeds=(0,), epochs=2, total=2, done=0
)


@dataclass
class Listener:
    """Writes down what it is told; raises ``error`` when it is told ``at``."""

    at: str = ""
    error: BaseException = field(default_factory=lambda: RuntimeError("full"))
    heard: list[tuple[str, Any]] = field(default_factory=list)

    def _hear(self, what: str, told: Any) -> None:
        self.heard.append((what, told))
        if what == self.at:
            raise self.error

    def started(self, beginning: Beginning) -> None:
        self._hear("started", beginning)

    def epoch(self, records: Any) -> None:
        self._hear("epoch", records)

    def message(self, text: str) -> None:
        self._hear("message", text)

    def finished(self, outcome: Outcome | BaseException) -> None:
        self._hear("finished", outcome)


class TestSeveral:
    def test_all_hear_everything(self):
        listeners = [Listener(), Listener()]
        several = Several(*listeners)
        stop = KeyboardInterrupt()
        several.started(BEGINNING)
        several.epoch([])
        several.message("m")
        several.finished(stop)
        told = [("started", BEGINNING), ("epoch", []), ("message", "m"), ("finished", stop)]
        assert [listener.heard for listener in listeners] == [told, told]

    @pytest.mark.parametrize("at", ["started", "epoch", "message", "finished"])
    def test_one_that_raises_keeps_nothing_from_the_others_and_is_not_silent(self, at):
        broken, other = Listener(at), Listener()
        several = Several(broken, other)
        calls = {
            "started": lambda: several.started(BEGINNING),
            "epoch": lambda: several.epoch([]),
            "message": lambda: several.message("m"),
            "finished": lambda: several.finished(ValueError()),
        }
        with pytest.raises(RuntimeError, match="full"):
            calls[at]()
        assert len(other.heard) == 1

    def test_of_two_errors_the_second_is_a_note_on_the_first(self):
        with pytest.raises(RuntimeError, match="full") as raised:
            Several(Listener("message"), Listener("message", ValueError("worse"))).message("m")
        assert raised.value.__notes__ == ["another listener: ValueError: worse"]

    def test_an_interruption_waits_for_nobody(self):
        other = Listener()
        with pytest.raises(KeyboardInterrupt):
            Several(Listener("epoch", KeyboardInterrupt()), other).epoch([])
        assert other.heard == []

    def test_nobody_may_listen(self):
        Several().started(BEGINNING)


def study() -> Study:
    return build_study(
        {
            "name": "heard",
            "data": {"name": "digits", "train_images": 64},
            "train": {"epochs": 2, "batch_size": 32},
            "seeds": [3, 5],
            "arms": {"none": {}, "l1": {"l1": 1e-4}},
        }
    )


def run(directory: Path, listener: Any) -> Outcome:
    return regulab.study.run(study(), directory, data_root=directory, progress=listener)


def test_a_listener_knows_the_study_and_what_it_came_to(tmp_path):
    listener = Listener()
    outcome = run(tmp_path / "run", Several(listener, Silent()))
    words = [what for what, _ in listener.heard if what != "message"]
    assert words == ["started", "epoch", "epoch", "finished"]
    started = dict(listener.heard)["started"]
    assert started == Beginning(
        study="heard",
        directory=tmp_path / "run",
        arms=("none", "l1"),
        seeds=(3, 5),
        epochs=2,
        total=8,
        done=0,
    )
    assert listener.heard[-1] == ("finished", outcome)
    assert outcome.report.is_file()
    again = Listener()
    finished = run(tmp_path / "run", again)
    assert [what for what, _ in again.heard if what != "message"] == ["finished"]
    assert finished.trained == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("full")], ids=["stopped", "failed"])
def test_a_study_that_does_not_end_well_tells_why_and_goes_on_later(tmp_path, error):
    listener = Listener("epoch", error)
    with pytest.raises(type(error)) as raised:
        run(tmp_path / "run", listener)
    assert listener.heard[-1] == ("finished", error)
    assert raised.value is error
    later = Listener()
    run(tmp_path / "run", later)
    started = dict(later.heard)["started"]
    assert (started.total, started.done) == (8, 4)


class Shown:
    """A listener that is shown how far the reading of files has come."""

    def __init__(self):
        self.seen = []

    @contextmanager
    def reading(self, what, total):
        self.seen.append((what, total))
        yield self.seen.append
        self.seen.append("closed")


def test_whoever_can_be_shown_the_reading_is_and_others_are_not_asked():
    one, other = Shown(), Shown()
    several = Several(Listener(), one, other)  # type: ignore[arg-type]  # they hear of the reading alone
    with reading_of(several)("reading image files", 3) as advance:
        advance(2)
        advance(1)
    assert one.seen == other.seen == [("reading image files", 3), 2, 1, "closed"]
    assert reading_of(Silent()) is None


def test_plain_lines_of_reading_come_every_few_seconds():
    lines: list[str] = []
    now = iter([0.0, 0.0, 1.0, 4.0, 4.0, 5.0])
    progress = PlainProgress(lines.append, lambda: next(now))
    with progress.reading("reading image files", 2_000) as advance:
        for _ in range(3):
            advance(500)
    assert lines == ["reading image files: 1,000 of 2,000"]


def test_a_bar_of_reading_goes_when_it_is_full():
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    with LiveProgress(console).reading("reading image files", 2) as advance:
        advance(2)
    written = text.getvalue()
    assert "reading image files" in written
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1  # the cursor is back


def test_an_error_while_reading_is_shown_ends_no_study(capsys):
    class Broken(Shown):
        @contextmanager
        def reading(self, what, total):
            def advance(_count):
                raise RuntimeError("no terminal")

            yield advance

    progress = GuardedProgress(Broken(), "")  # type: ignore[arg-type]
    with progress.reading("reading image files", 2) as advance:
        advance(1)
        advance(1)
    assert capsys.readouterr().err.count("no terminal") == 1
