"""``Study(model=…)``: classes and factories from Python, and how a run directory keeps them."""

from __future__ import annotations

import functools
import linecache
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import regulab as rl
from regulab.data import given as given_images
from regulab.models import given, sources
from regulab.models.as_source import as_source

LABELS = np.arange(60) % 2
IMAGES = (np.random.default_rng(0).integers(0, 156, (60, 8, 8)) + 100 * LABELS[:, None, None]).astype(
    np.uint8
)
SMALL: dict[str, Any] = {
    "name": "given",
    "data": (IMAGES, LABELS),
    "train": {"epochs": 1, "batch_size": 8, "precision": "fp32"},
    "seeds": 1,
    "arms": {"none": {}, "l1": {"l1": 1e-4}},
}
NOTEBOOK = """
import torch
import torch.nn.functional as F
from torch import nn
from math import ceil as up

WIDTH = 4
KERNELS = {"first": (3, 3)}
x = "of the notebook, and of no function"
array = torch.zeros(3)

def block(inner, outer):
    return nn.Sequential(nn.Conv2d(inner, outer, KERNELS["first"], padding=up(0.5)), nn.ReLU())

class Base(nn.Module):
    def forward(self, x):
        return self.head(torch.flatten(F.adaptive_avg_pool2d(self.body(x), 2), 1))

class MyNet(Base):
    def __init__(self, in_channels, classes):
        super().__init__()
        self.body = block(in_channels, WIDTH)
        self.head = nn.Linear(4 * WIDTH, classes)

def around(classes):
    def inner():
        return MyNet(1, classes)
    return inner

def decorated(function):
    return function

@decorated
def factory(classes, in_channels=1):
    return MyNet(in_channels, classes)

class Lacking(Base):
    def __init__(self):
        super().__init__()
        self.body = block(1, WIDTH)
        self.head = nn.Linear(4 * WIDTH, 2)
        self.register_buffer("array", array.clone())

pair = lambda: MyNet(1, 2), lambda: MyNet(in_channels=1, classes=2)
closure = around(2)
shuffled = lambda: MyNet(1, len({"a", "b"}))
"""


@pytest.fixture
def notebook(monkeypatch) -> ModuleType:
    """A main module that was typed into a notebook: its source is in memory only."""
    module = ModuleType("__main__")
    name = "<cell 1>"
    monkeypatch.setitem(linecache.cache, name, (len(NOTEBOOK), None, NOTEBOOK.splitlines(True), name))
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(compile(NOTEBOOK, name, "exec"), vars(module))
    return module


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """Its figures would take most of the time."""
    monkeypatch.setattr("regulab.study.write_report", lambda *arguments: None)


@pytest.fixture
def elsewhere(monkeypatch) -> Callable[[], None]:
    """Makes this process forget what it was given, as if it were another one."""

    def forget() -> None:
        monkeypatch.setattr(given_images, "_held", {})
        monkeypatch.setattr(sources, "held", {})

    return forget


def run(out: Path, **content: Any) -> rl.Results:
    study = content.pop("study", None) or rl.Study(**{**SMALL, **content})
    return rl.run(study, out=out, data_root="no data here", progress=None)


def test_a_class_from_a_notebook_trains_and_its_directory_goes_on_without_it(notebook, tmp_path, elsewhere):
    study = rl.Study(**SMALL, model=notebook.MyNet)
    assert study.model.name.endswith("/MyNet.py:MyNet")
    first = run(tmp_path / "runs", study=study)
    kept = sorted(path.name for path in (tmp_path / "runs" / "given").rglob("*.*"))
    assert kept == ["MyNet.py", "images.npz"]
    elsewhere()
    with pytest.raises(rl.UserError, match="given from Python"):
        rl.run(study, out=tmp_path / "other", progress=None)
    again = rl.run(
        rl.load_study(tmp_path / "runs" / "study.yaml", seeds=2), out=tmp_path / "runs", progress=None
    )
    assert again.seeds == (0, 1)
    assert again.records.results[0] == first.records.results[0]
    assert (
        first.records.predictions[("l1", 0)].labels.tolist()
        == again.records.predictions[("l1", 1)].labels.tolist()
    )


def test_a_kept_directory_may_move_and_begin_afresh(notebook, tmp_path, elsewhere):
    first = run(tmp_path / "runs", model=notebook.MyNet)
    elsewhere()
    (tmp_path / "runs").rename(tmp_path / "moved")
    study = rl.load_study(tmp_path / "moved" / "study.yaml")
    again = rl.run(study, out=tmp_path / "moved", fresh=True, progress=None)
    assert [row.test_loss for row in again.records.results] == [
        row.test_loss for row in first.records.results
    ]
    assert (tmp_path / "moved" / "given").is_dir()


def test_the_same_objects_go_on_and_others_are_refused(notebook, tmp_path, elsewhere):
    run(tmp_path, model=notebook.MyNet)
    elsewhere()
    more = rl.run(rl.Study(**SMALL, model=notebook.MyNet), out=tmp_path, seeds=2, progress=None)
    assert more.seeds == (0, 1)
    notebook.WIDTH = 5
    with pytest.raises(rl.UserError, match=r"the model: its code .*files of the network: MyNet\.py"):
        run(tmp_path, model=notebook.MyNet)
    notebook.WIDTH = 4
    with pytest.raises(rl.UserError, match="the training images or their labels"):
        run(tmp_path, model=notebook.MyNet, data=(255 - IMAGES, LABELS))
    with pytest.raises(rl.UserError, match="the test images or their labels"):
        run(tmp_path, model=notebook.MyNet, data=(IMAGES, 1 - LABELS))


WRITTEN = {
    "class": lambda module: module.MyNet,
    "function": lambda module: module.factory,
    "lambda": lambda module: module.pair[0],
    "the other lambda": lambda module: module.pair[1],
    "closure": lambda module: module.closure,
    "partial": lambda module: functools.partial(module.MyNet, in_channels=1, classes=2),
    "partial of a function": lambda module: functools.partial(module.factory, 2),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_builds_the_same_network(name, notebook, tmp_path):
    written = as_source(WRITTEN[name](notebook))
    assert written.lacks == ()
    assert "of the notebook" not in written.text
    file = tmp_path / "net.py"
    file.write_bytes(written.content())
    module = sources.load(file)
    factory = getattr(module, written.attribute)
    arguments = (
        {} if "partial" in name or "lambda" in name or name == "closure" else {"in_channels": 1, "classes": 2}
    )
    torch.manual_seed(0)
    there = factory(**arguments)
    torch.manual_seed(0)
    here = WRITTEN[name](notebook)(**arguments)
    assert str(there) == str(here)
    for one, other in zip(there.parameters(), here.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_two_lambdas_of_a_line_are_told_apart(notebook):
    first, second = (as_source(factory).text for factory in notebook.pair)
    assert "MyNet(1, 2)" in first
    assert "in_channels=1" in second


def test_an_installed_factory_is_imported():
    written = as_source(torch.nn.LeNet if hasattr(torch.nn, "LeNet") else torch.nn.Flatten)
    assert written.lacks == ()
    assert written.text == "from torch.nn.modules.flatten import Flatten\n"


def test_what_cannot_be_written_trains_here_and_says_how_to_go_on_elsewhere(notebook, tmp_path, elsewhere):
    first = run(tmp_path, model=notebook.Lacking)
    (file,) = (tmp_path / "given").rglob("*.py")
    assert file.read_text().splitlines()[1] == "# This file does not run by itself: it lacks array (Tensor)"
    assert run(tmp_path, model=notebook.Lacking).records.results == first.records.results
    assert "its file lacks array (Tensor): it goes on only where it is given again" in str(
        first.records.environment
    )
    elsewhere()
    with pytest.raises(rl.UserError, match=r"lacks array \(Tensor\).*regulab\.run with the same class"):
        rl.run(rl.load_study(tmp_path / "study.yaml", seeds=2), out=tmp_path, progress=None)
    assert rl.load(tmp_path).seeds == (0,)


def test_a_constructor_whose_sets_may_differ_is_built_in_another_process_too(notebook, tmp_path, monkeypatch):
    asked = []
    from regulab import models
    from regulab.models.elsewhere import hashes_elsewhere as whole

    def spied(model, *arguments):
        asked.append((model.name, whole(model, *arguments)))
        return asked[-1][1]

    monkeypatch.setattr(models, "hashes_elsewhere", spied)
    run(tmp_path, model=notebook.shuffled)
    assert asked
    assert all(answer for _, answer in asked), "the other process built it"
    assert not any(Path(name.rpartition(":")[0]).exists() for name, _ in asked), "no file is left behind"


def test_a_class_of_a_file_is_named_as_in_a_study_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own_nets_for_a_test.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self): super().__init__()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import own_nets_for_a_test as own  # type: ignore[import-not-found]

    assert rl.Study(model=own.Net).model.name == "own_nets_for_a_test.py:Net"
    assert rl.Study(model={"name": own.Net, "dropout": None}).model.name == "own_nets_for_a_test.py:Net"
    monkeypatch.delitem(sys.modules, "own_nets_for_a_test")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (nn.Linear(2, 2), "every run needs its own; .*the class, Linear"),
        (dict, "a class of no networks"),
        ([], "no network; got <class 'list'>"),
    ],
    ids=["a network", "a class", "a list"],
)
def test_one_network_and_other_things_are_refused(value, message):
    with pytest.raises(rl.UserError, match=message):
        rl.Study(model=value)


def test_a_study_of_objects_is_a_frozen_value(notebook):
    one, two = (rl.Study(**SMALL, model=notebook.MyNet) for _ in range(2))
    assert one == two
    assert one.identity() == two.identity()
    assert f"npz:given/{one.data.name.split('/')[1]}/images.npz" in one.to_yaml()
    assert given.written(one.model.name) is not None


def test_no_link_is_followed_in_what_is_kept(notebook, tmp_path, elsewhere):
    run(tmp_path / "runs", model=notebook.MyNet)
    (file,) = (tmp_path / "runs" / "given").rglob("*.py")
    file.rename(tmp_path / "outside.py")
    file.symlink_to(tmp_path / "outside.py")
    with pytest.raises(rl.UserError, match="this is a link"):
        run(tmp_path / "runs", model=notebook.MyNet)


def test_a_kept_file_that_was_changed_is_another_network(notebook, tmp_path, elsewhere):
    run(tmp_path, model=notebook.MyNet)
    elsewhere()
    (file,) = (tmp_path / "given").rglob("*.py")
    file.write_text(file.read_text().replace("WIDTH = 4", "WIDTH = 8"))
    with pytest.raises(rl.UserError, match=r"files of the network: MyNet\.py"):
        rl.run(rl.load_study(tmp_path / "study.yaml", seeds=2), out=tmp_path, progress=None)


@pytest.mark.slow  # three processes that import torch and train
def test_a_program_goes_on_from_the_command_line_and_again_by_itself(tmp_path):
    program = NOTEBOOK + (
        "if __name__ == '__main__':\n"
        "    import numpy as np, regulab as rl\n"
        "    labels = np.arange(60) % 2\n"
        "    images = np.full((60, 8, 8), 50, np.uint8) + np.uint8(100) * labels[:, None, None].astype(np.uint8)\n"
        "    study = rl.Study(name='mine', model=MyNet, data=(images, labels), seeds=1,\n"
        "                     train={'epochs': 1}, arms={'none': {}})\n"
        "    print(len(rl.run(study, progress=None).records.results))\n"
    )
    (tmp_path / "program.py").write_text(program)

    environment = {**os.environ, "PYTHONPATH": str(Path(rl.__file__).resolve().parents[1])}

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert call("program.py") == "1\n"
    call("-m", "regulab", "run", "runs/mine/study.yaml", "--seeds", "2", "-q")
    assert call("program.py") == "2\n"
