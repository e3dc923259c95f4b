"""Every launcher gives the records that the local one gives, and leaves a directory that goes on when it fails."""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, final

import pytest

import regulab.launchers
import regulab.study
from regulab.errors import UserError
from regulab.launchers import LAUNCHERS, Launcher, launcher_of
from regulab.launchers.events import Event, Finished, carried_out
from regulab.progress import Outcome
from regulab.registry import catalogue
from regulab.techniques import arms_of
from regulab.training import planning, setup
from regulab.training.loop import EpochDone, Job
from regulab.training.machine import choose_machine
from tests.test_resume import ARMS, EPOCHS, Counted, Interrupt, epochs_once, load_few, make_study, same, trace

# The arm that learns from another can be launched only once that one is recorded.
STUDY = make_study(endpoint={"epoch": "best_val"}, arms={**ARMS, "taught": {"distillation": "none"}})
RUNS = len(STUDY.arms) * 2


@final
class Ahead(Launcher):
    """Trains all fleets before it tells of the first, as one that has many workers may."""

    name = "ahead"
    summary = "for these tests"

    def launch(self, jobs: Iterable[Job]) -> Generator[Event, None, None]:
        done = [[copy.deepcopy(event) for event in carried_out(job)] for job in jobs]
        for events in done:
            yield from events


@final
class Backwards(Launcher):
    """Breaks its promise: the last fleet first."""

    name = "backwards"
    summary = "for these tests"

    def launch(self, jobs: Iterable[Job]) -> Generator[Event, None, None]:
        for job in reversed(list(jobs)):
            yield from carried_out(job)


@final
class Forgets(Launcher):
    """Breaks its promise: one fleet is never trained."""

    name = "forgets"
    summary = "for these tests"

    def launch(self, jobs: Iterable[Job]) -> Generator[Event, None, None]:
        yield from carried_out(next(iter(jobs)))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)


def few(patch: pytest.MonkeyPatch) -> None:
    """A few images, a fleet for every seed, no report, and the launchers of these tests among the others."""
    patch.setattr(setup, "load", load_few)
    patch.setattr(planning, "PIXELS_PER_STEP", 1)
    patch.setattr(regulab.study, "write_report", lambda records, directory: None)
    for launcher in (Ahead, Backwards, Forgets):
        patch.setitem(LAUNCHERS, launcher.name, launcher)


def run(directory: Path, launcher: str, **options: Any) -> Outcome:
    return regulab.study.run(STUDY, directory, data_root=directory.parent, launcher=launcher, **options)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the local launcher leaves, without times."""
    directory = tmp_path_factory.mktemp("local") / "run"
    with pytest.MonkeyPatch.context() as patch:
        few(patch)
        run(directory, "local")
    return trace(directory)


KEEPING = [*sorted(LAUNCHERS), Ahead.name]


@pytest.mark.parametrize("name", KEEPING)
def test_its_records_are_those_of_the_local_one(name, local, tmp_path):
    heard = Counted()
    assert run(tmp_path / "run", name, progress=heard).trained == RUNS
    same(trace(tmp_path / "run"), local)
    assert heard.told == len(local["history.jsonl"])
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("last", [0, 2, EPOCHS + 2])
def test_one_that_fails_in_the_middle_leaves_a_directory_that_goes_on(
    name, last, local, tmp_path, monkeypatch
):
    """``last``: after how many epochs; 0 is before the first, the last one is in the second fleet."""

    @final
    class Fails(Launcher):
        name = "fails"
        summary = "for this test"

        def launch(self, jobs: Iterable[Job]) -> Generator[Event, None, None]:
            done = 0
            for event in launcher_of(kept).launch(jobs):
                if done == last:
                    raise RuntimeError("the machine is lost")
                yield event
                done += isinstance(event, EpochDone)

    kept = name
    monkeypatch.setitem(LAUNCHERS, "fails", Fails)
    with pytest.raises(RuntimeError, match="lost"):
        run(tmp_path / "run", "fails")
    assert not (tmp_path / "run" / ".lock").exists()

    run(tmp_path / "run", name)

    same(trace(tmp_path / "run"), local)
    assert epochs_once(tmp_path / "run")


@pytest.mark.parametrize("name", KEEPING)
def test_it_is_closed_where_a_study_is_stopped(name, tmp_path, monkeypatch):
    closed: list[str] = []

    @final
    class Watched(Launcher):
        name = "watched"
        summary = "for this test"

        def launch(self, jobs: Iterable[Job]) -> Generator[Event, None, None]:
            try:
                yield from launcher_of(kept).launch(jobs)
            finally:
                closed.append(kept)

    kept = name
    monkeypatch.setitem(LAUNCHERS, "watched", Watched)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", "watched", progress=Interrupt(1))
    assert closed == [name]


@pytest.mark.parametrize("name", sorted(LAUNCHERS))
def test_it_says_what_it_is(name):
    launcher = launcher_of(name)
    assert launcher.name == name
    assert launcher.summary
    assert "\n" not in launcher.summary


@pytest.mark.parametrize(
    ("name", "words"), [("backwards", "come in the order of the jobs"), ("forgets", "left out fleets")]
)
def test_one_that_breaks_its_promise_is_stopped(name, words, local, tmp_path):
    with pytest.raises(AssertionError, match=f"launcher {name}.*{words}"):
        run(tmp_path / "run", name)
    run(tmp_path / "run", "local")
    same(trace(tmp_path / "run"), local)


def test_an_unknown_one_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(
        UserError, match=r"unknown launcher; got 'locol'; expected one of .*; did you mean local\?"
    ):
        run(tmp_path / "run", "locol")
    assert not (tmp_path / "run").exists()


def test_a_new_one_is_one_file(tmp_path, monkeypatch):
    """A file in the folder is found by itself."""
    source = f"""
from {__name__} import Ahead, Launcher


class Mine(Launcher):
    name = "mine"
    summary = "as a person would write it"
    launch = Ahead.launch
"""
    (tmp_path / "mine.py").write_text(source)
    monkeypatch.setattr(regulab.launchers, "__path__", [*regulab.launchers.__path__, str(tmp_path)])
    assert catalogue("regulab.launchers", Launcher).keys() == {*LAUNCHERS, "mine"} - {
        "ahead",
        "backwards",
        "forgets",
    }


def test_finished_tells_of_every_run(tmp_path):
    """Also of a fleet whose runs stopped early."""
    splits = load_few(STUDY.data, STUDY.protocol, tmp_path)
    made = setup.Setup.of(STUDY, splits, choose_machine("cpu", "fp32"), arms_of(STUDY))
    (plan, *_) = planning.plan_fleets(made, STUDY.seeds)
    *_, last = carried_out(Job(plan, made))
    assert isinstance(last, Finished)
    assert [(one.result.arm, one.result.seed) for one in last.tested] == list(plan.runs)
    assert last.fleet == plan.index
