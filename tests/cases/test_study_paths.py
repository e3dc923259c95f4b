"""Paths in a study file are relative to the file; on the command line, to the working directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regulab.study
from regulab.cli.arguments import assembled_study
from regulab.config import build_study, load_study
from regulab.config.paths import start_of_paths, with_path
from regulab.errors import UserError
from regulab.run_directory.reading import read_study
from regulab.study import run

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels, classes):
        super().__init__()
        self.flat, self.out = nn.Flatten(), nn.Linear(in_channels * 64, classes)

    def forward(self, x):
        return self.out(self.flat(x))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``project/studies/mine.yaml`` with its network and images beside it; the working directory is ``elsewhere``."""
    studies = tmp_path / "project" / "studies"
    for label in ("a", "b"):
        (studies / "photos" / label).mkdir(parents=True)
        for number in range(6):
            pixels = np.full((8, 8), 40 * number + (label == "b"), np.uint8)
            Image.fromarray(pixels).save(studies / "photos" / label / f"{number}.png")
    (studies / "nets.py").write_text(NET)
    (studies / "mine.yaml").write_text(
        'name: mine\ndata: {name: "folder:photos"}\nmodel: {name: "nets.py:Net"}\n'
        "train: {epochs: 1, precision: fp32}\nseeds: 1\narms: {none: {}}\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return studies


def names(*arguments: str) -> tuple[str, str]:
    study = assembled_study(arguments)
    return study.model.name, study.data.name


def test_from_the_files_own_folder_names_stay_as_they_are(project, monkeypatch):
    monkeypatch.chdir(project)
    assert names("mine.yaml") == names(str(project / "mine.yaml")) == ("nets.py:Net", "folder:photos")


def test_from_above_they_are_relative_and_from_elsewhere_absolute(project, monkeypatch):
    where = project.resolve()
    assert names(str(project / "mine.yaml")) == (f"{where}/nets.py:Net", f"folder:{where}/photos")
    assert names("../project/studies/mine.yaml") == (f"{where}/nets.py:Net", f"folder:{where}/photos")
    monkeypatch.chdir(project.parent)
    assert names("studies/mine.yaml") == ("studies/nets.py:Net", "folder:studies/photos")


def test_it_is_the_same_study_from_wherever_it_is_named(project, monkeypatch):
    far = load_study(str(project / "mine.yaml")).identity()
    monkeypatch.chdir(project)
    assert load_study("mine.yaml").identity() == far
    assert load_study("mine.yaml", "model.name=nets.py:Other").identity() != far
    assert load_study("mine.yaml", "data.name=folder:pictures").identity() != far


def test_short_forms_and_absolute_paths(project):
    (project / "short.yaml").write_text('data: "folder:photos"\nmodel: "nets.py:Net"\n')
    where = project.resolve()
    assert names(str(project / "short.yaml")) == (f"{where}/nets.py:Net", f"folder:{where}/photos")
    (project / "absolute.yaml").write_text('data: "folder:/data/photos"\nmodel: "/nets.py:Net"\n')
    assert names(str(project / "absolute.yaml")) == ("/nets.py:Net", "folder:/data/photos")
    (project / "home.yaml").write_text('data: "folder:~/photos"\nmodel: "~/nets.py:Net"\n')
    home = Path.home()
    assert names(str(project / "home.yaml")) == (f"{home}/nets.py:Net", f"folder:{home}/photos")
    (project / "plain.yaml").write_text("data: mnist\nmodel: deep\n")
    assert names(str(project / "plain.yaml")) == ("deep", "mnist")


def test_paths_on_the_command_line_are_relative_to_the_working_directory(project):
    path = str(project / "mine.yaml")
    assert names(path, "model.name=nets.py:Net")[0] == "nets.py:Net"
    assert assembled_study([path], data="folder:photos").data.name == "folder:photos"


def test_a_path_from_the_working_directory_is_refused_with_the_one_to_write(project, monkeypatch):
    (project.parent / "top.py").write_text(NET)
    (project / "old.yaml").write_text('model: {name: "top.py:Net"}\n')
    monkeypatch.chdir(project.parent)
    with pytest.raises(UserError) as refused:
        load_study("studies/old.yaml")
    assert "studies/old.yaml, line 1: model.name: paths in a study file are relative to the file" in str(
        refused.value
    )
    assert "expected ../top.py:Net" in str(refused.value)


def test_a_run_directorys_file_finds_them_again_from_anywhere(project, monkeypatch):
    """Begun in one folder, given again from others: the same study, which trains nothing more."""
    monkeypatch.setattr(regulab.study, "write_report", lambda *_: None)
    out = project / "runs" / "mine"
    monkeypatch.chdir(project)
    begun = run(load_study("mine.yaml"), out, data_root=Path("nowhere"), device="cpu")
    assert begun.trained == 1
    assert read_study(out).model.name == "nets.py:Net"
    for folder in (project, project.parent, project.parents[1] / "elsewhere", out):
        monkeypatch.chdir(folder)
        study = assembled_study([str(out / "study.yaml")])
        assert study.identity() == load_study(str(project / "mine.yaml")).identity()
        assert run(study, out, data_root=Path("nowhere"), device="cpu").trained == 0


def test_a_run_directory_of_before_took_them_from_the_working_directory(tmp_path, monkeypatch):
    study = build_study({"model": {"name": "nets.py:Net"}, "resolved": {"class_names": ["a"]}})
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "study.yaml").write_text(study.to_yaml())
    monkeypatch.chdir(tmp_path)
    assert assembled_study(["runs/study.yaml"]).model.name == "nets.py:Net"


def test_without_paths_a_run_directory_says_nothing_of_folders(tmp_path):
    assert start_of_paths("digits", "cnn10k", tmp_path) is None
    assert start_of_paths("folder:/data/photos", "/nets.py:Net", tmp_path) is None
    assert start_of_paths("digits", "nets.py:Net", Path("runs/x")) == "../.."


def test_a_path_that_is_a_part_of_the_formats_name_is_still_the_path():
    assert with_path("folder:f", "f", "/there/f") == "folder:/there/f"
    assert with_path("a.py:Net", "a.py", "/a.py") == "/a.py:Net"
