"""``regulab export``: what it takes, writes and exits with."""

import pytest
from typer.testing import CliRunner

from regulab.cli import app, completing
from regulab.exporters import exporters
from tests.samples import STUDY, finished_run


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def run_dir(tmp_path):
    finished_run(tmp_path / "run", STUDY)
    return tmp_path / "run"


def test_it_says_what_it_wrote_and_where(run_dir, tmp_path):
    shown = invoke("export", run_dir, "--to", "csv")
    assert (shown.exit_code, shown.stdout) == (0, f"4 files in {run_dir / 'export' / 'csv'}\n")
    assert (run_dir / "export" / "csv" / "runs.csv").is_file()
    assert invoke("export", run_dir, "--to", "csv", "--out", tmp_path / "there").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [
        "epochs.csv", "mistakes.csv", "mistakes_by_image.csv", "runs.csv"
    ]  # fmt: skip


def test_an_unknown_exporter_is_answered_with_the_list(run_dir):
    refused = invoke("export", run_dir, "--to", "cvs")
    assert refused.exit_code == 2
    assert f"one of {', '.join(exporters())}" in refused.stderr
    assert "did you mean csv?" in refused.stderr
    assert not (run_dir / "export").exists()


@pytest.mark.parametrize("name", exporters())
def test_a_damaged_directory_is_named(run_dir, tmp_path, name):
    (run_dir / "environment.json").write_text("{")
    refused = invoke("export", run_dir, "--to", name)
    assert refused.exit_code == 2
    assert "environment.json" in refused.stderr
    assert invoke("export", tmp_path / "nowhere", "--to", name).exit_code == 2


def test_no_link_of_a_strangers_directory_is_followed(run_dir, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (run_dir / "export").symlink_to(tmp_path / "elsewhere")
    refused = invoke("export", run_dir, "--to", "csv")
    assert refused.exit_code == 2
    assert "this is a link" in refused.stderr
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_in_the_way_is_named(run_dir, tmp_path):
    (tmp_path / "out").write_text("mine")
    refused = invoke("export", run_dir, "--to", "csv", "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "cannot write" in refused.stderr
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("name", exporters())
def test_show_tells_of_it(name):
    assert f"{name} " in invoke("show", "exporters").stdout
    shown = invoke("show", "exporters", name).stdout
    assert len(shown.splitlines()) > 2
    assert ("pip install" in shown) is bool(exporters()[name].extra)


def test_a_shell_completes_its_name():
    assert completing.exporters("c") == ["csv"]
    assert completing.exporters("") == list(exporters())
