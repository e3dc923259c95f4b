import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from regulab.config import Data, Protocol, Study, load_study
from regulab.data import Dataset, data_root, datasets, find_dataset, load
from regulab.errors import UserError


def test_the_catalogue():
    found = datasets()
    assert {"digits", "mnist", "fashion_mnist", "kmnist"} <= set(found)
    for name, dataset in found.items():
        assert isinstance(dataset, Dataset)
        assert dataset.name == name
        assert dataset.summary
        assert "\n" not in dataset.summary
        assert dataset.source
        assert len({file.path(Path("x")) for file in dataset.files}) == len(dataset.files)


def test_unknown_dataset_lists_what_there_is():
    with pytest.raises(UserError, match=r"got 'minst'; expected one of .*digits,.*, or .*folder:PATH"):
        find_dataset("minst")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("photos/", "folder:photos/"),
        ("./photos", "folder:./photos"),
        ("~/photos", "folder:~/photos"),
        ("photos.csv", "csv:photos.csv"),
        ("a/b.TSV", "csv:a/b.TSV"),
        ("set.npz", "npz:set.npz"),
        ("npz:set.bin", "npz:set.bin"),
        ("mnist", "mnist"),
    ],
)
def test_a_bare_path_is_of_the_format_that_its_ending_says(name, written):
    assert Data(name=name).name == written
    assert Study.model_validate({"data": name}).data.name == written
    assert (
        Study.model_validate({"data": name}).identity() == Study.model_validate({"data": written}).identity()
    )


def test_bare_paths_in_a_study_file_are_relative_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "study.yaml").write_text("data: {name: photos.csv}\n")
    assert load_study("there/study.yaml").data.name == "csv:there/photos.csv"
    (tmp_path / "there" / "study.yaml").write_text("data: photos/\n")
    assert load_study("there/study.yaml").data.name == "folder:there/photos"


def test_a_folder_or_file_with_the_name_of_no_dataset_is_pointed_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match=r"did you mean folder:photos\?"):
        find_dataset("photos")


def test_the_catalogue_needs_no_torch():
    code = "import sys, regulab.data; regulab.data.datasets(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_data_root_flag_over_environment_over_cache(monkeypatch):
    monkeypatch.setenv("REGULAB_DATA", "/from/environment")
    assert data_root("/from/flag") == Path("/from/flag")
    assert data_root(None) == Path("/from/environment")
    monkeypatch.delenv("REGULAB_DATA")
    assert "regulab" in data_root(None).parts
    assert data_root("~/x") == Path.home() / "x"


def test_what_was_done_to_both_parts_is_said_once(tmp_path):
    images, labels = np.random.default_rng(0).random((40, 6, 6)), np.arange(40) % 2
    np.savez(tmp_path / "set.npz", x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    notes = load(Data(name=f"npz:{tmp_path / 'set.npz'}"), Protocol(), tmp_path).notes
    assert len([note for note in notes if note.startswith("data: floats from 0 to 1")]) == 1
