import subprocess
import sys
from pathlib import Path

import pytest

from regulab.data import Dataset, data_root, datasets, find_dataset
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
    with pytest.raises(UserError, match=r"got 'minst'; expected one of digits,.* or folder:PATH"):
        find_dataset("minst")


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
