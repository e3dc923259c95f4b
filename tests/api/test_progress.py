"""Progress in a notebook: one output, renewed in place; and which progress is chosen where."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import regulab as rl
from regulab.api.progress import INTERVAL, NotebookProgress, in_notebook, progress_for
from regulab.progress import Beginning, Silent
from regulab.terminal.progress_display import PlainProgress
from tests.api.conftest import NOWHERE, SMALL
from tests.samples import epoch_record


def beginning(epochs: int, total: int) -> Beginning:
    return Beginning("small", Path("runs/small"), ("none",), (0, 1), epochs, total, 0)


class Output:
    """What a cell shows: IPython's handle of a display."""

    def __init__(self, content):
        self.shown = [content]

    def update(self, content, raw):
        assert raw
        self.shown.append(content)


@pytest.fixture
def outputs(monkeypatch):
    """The outputs of a cell of a kernel that is not there."""
    found: list[Output] = []

    def display(content, raw, display_id):
        assert raw
        assert display_id is True
        found.append(Output(content))
        return found[-1]

    ipython: Any = ModuleType("IPython")
    displays: Any = ModuleType("IPython.display")
    ipython.version_info = (9, 0)  # matplotlib asks for it
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    displays.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    return found


def test_a_study_in_a_notebook_has_one_output_that_ends_complete(outputs, tmp_path, capsys):
    study = rl.load_study(rl.Study(**SMALL), seeds=1)
    rl.run(study, out=tmp_path / "small", data_root=NOWHERE)
    assert len(outputs) == 1
    last = outputs[0].shown[-1]
    assert last["text/plain"].startswith("7 of 8 epochs of runs, "), "one run diverged in its first epoch"
    assert " left" not in last["text/plain"].splitlines()[0]
    assert "none: 0, epoch 2/2, " in last["text/plain"]
    assert "&lt;b&gt;x&lt;/b&gt;" in last["text/html"]
    assert "<b>x</b>" not in last["text/html"]
    assert capsys.readouterr().err == ""
    rl.run(study, out=tmp_path / "small", data_root=NOWHERE)
    assert len(outputs) == 1, "nothing is trained, so there is nothing to show"


def test_the_rate_counts_from_the_end_of_the_first_epoch(outputs):
    now = [0.0]
    progress = NotebookProgress(clock=lambda: now[0])
    progress.started(beginning(4, 8))
    texts = []
    for epoch, seconds in enumerate([60, 10, 10, 10], start=1):  # the first compiles
        now[0] += seconds
        progress.epoch(
            [epoch_record(arm="none", seed=seed, epoch=epoch, val_accuracy=50.0 + seed) for seed in (0, 1)]
        )
        texts.append(outputs[0].shown[-1]["text/plain"])
    assert texts[0].startswith("2 of 8 epochs of runs, 1:00 gone\n")
    assert texts[1].startswith("4 of 8 epochs of runs, 1:10 gone, 0:20 left\n")
    assert texts[3] == "8 of 8 epochs of runs, 1:30 gone\nnone: 0–1, epoch 4/4, 50.50 %"


def test_an_output_is_not_renewed_more_often_than_a_browser_can_use(outputs):
    now = [0.0]
    progress = NotebookProgress(clock=lambda: now[0])
    progress.started(beginning(100, 100))
    for epoch in range(1, 101):
        now[0] += INTERVAL / 10
        progress.epoch([epoch_record(arm="none", seed=0, epoch=epoch)])
    progress.finished(KeyboardInterrupt())
    assert 10 <= len(outputs[0].shown) <= 13
    assert outputs[0].shown[-1]["text/plain"].startswith("100 of 100")


def test_messages_stand_in_the_same_output_and_are_escaped(outputs):
    progress = NotebookProgress()
    progress.message("<script>one</script>\x1b")
    progress.started(beginning(1, 1))
    progress.message("two")
    assert len(outputs) == 1
    assert outputs[0].shown[0]["text/html"] == "<div>&lt;script&gt;one&lt;/script&gt;[U+001B]</div>"
    assert outputs[0].shown[-1]["text/html"].endswith("[U+001B]</div><div>two</div>")


def test_without_a_kernel_it_is_as_on_the_command_line(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    assert isinstance(progress_for("auto"), PlainProgress)
    shell: Any = ModuleType("IPython")  # IPython on a terminal, and IPython imported by a plain program
    for running in (SimpleNamespace(), None):
        shell.get_ipython = lambda running=running: running
        monkeypatch.setitem(sys.modules, "IPython", shell)
        assert not in_notebook()


@pytest.mark.usefixtures("without_report")
def test_none_is_silence_and_an_own_progress_is_taken(tmp_path):
    study = rl.Study(**SMALL)
    assert isinstance(progress_for(None), Silent)

    class Log(Silent):
        def __init__(self):
            self.told = []

        def epoch(self, records):
            self.told.append(len(records))

    log = Log()
    assert progress_for(log) is log
    rl.run(rl.load_study(study, arms={"none": {}}), out=tmp_path / "one", data_root=NOWHERE, progress=log)
    assert log.told == [2, 2]
