"""What every registered exporter promises, with no list to edit."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from regulab.errors import UserError
from regulab.exporters import export, exporters
from regulab.run_directory.reading import read_records
from tests.contracts.reports import KINDS, data_of
from tests.samples import STUDY, finished_run

EXPORTERS = exporters()


@pytest.fixture(params=EXPORTERS)
def exporter(request):
    return EXPORTERS[request.param]


def where(exporter):
    return f"{exporter.files.__module__}: "


@pytest.mark.parametrize("kind", KINDS)
def test_it_writes_every_kind_of_study_the_same_every_time(exporter, kind):
    records = data_of(kind).records
    first, second = (list(exporter.files(records)) for _ in range(2))
    assert first == second, (
        where(exporter) + "the same records gave other bytes; leave out times, hosts and ids"
    )
    names = [name for name, _ in first]
    assert len(names) == len(set(names)), where(exporter) + "two files have one name"
    for name, content in first:
        inside = not name.is_absolute() and ".." not in name.parts
        assert inside, where(exporter) + f"{name} leads out of the folder; take `file_name` for names of arms"
        assert isinstance(content, bytes), where(exporter) + "`files` yields bytes"


def test_it_does_not_change_the_records_nor_need_what_is_derived(exporter):
    records = data_of("two arms").records
    before = (
        records.history,
        records.results,
        {run: p.wrong.tolist() for run, p in records.predictions.items()},
    )
    files = list(exporter.files(replace(records, mistakes=None, looks=None)))
    assert files == list(exporter.files(records))
    assert before == (
        records.history, records.results, {run: p.wrong.tolist() for run, p in records.predictions.items()}
    )  # fmt: skip


def test_it_says_what_it_is(exporter):
    assert re.fullmatch("[a-z][a-z0-9-]*", exporter.name), (
        where(exporter) + "name: lower case letters and digits"
    )
    assert len(exporter.summary) > 20, where(exporter) + "summary: say on one line what is written"
    assert bool(exporter.module) == bool(exporter.extra), where(exporter) + "module and extra belong together"
    if exporter.extra:
        pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text()
        assert re.search(rf"^{exporter.extra} = \[", pyproject, re.MULTILINE), "an extra of pyproject.toml"


def test_its_module_is_read_without_torch_and_without_what_it_needs(exporter):
    script = (
        "import importlib, sys\n"
        "importlib.import_module(sys.argv[1])\n"
        "found = {'torch', sys.argv[2]} & set(sys.modules)\n"
        "sys.exit(f'{sys.argv[1]} imports {found}: import it inside `files`' if found else 0)\n"
    )
    arguments = [exporter.files.__module__, exporter.module or "torch"]
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_exported_twice_it_is_the_same_and_the_run_directory_does_not_mind(exporter, tmp_path, recwarn):
    finished_run(tmp_path / "run", STUDY)
    records = read_records(tmp_path / "run")
    first = export(tmp_path / "run", exporter.name)
    contents = [path.read_bytes() for path in first]
    assert all(path.is_relative_to(tmp_path / "run" / "export" / exporter.name) for path in first)
    assert export(tmp_path / "run", exporter.name) == first
    assert [path.read_bytes() for path in first] == contents
    found = {path for path in (tmp_path / "run" / "export").rglob("*") if path.is_file()}
    assert found == set(first)
    again = read_records(tmp_path / "run")
    assert (again.results, again.history) == (records.results, records.history)
    assert not recwarn.list


def test_what_it_needs_is_named_with_the_command_that_installs_it(exporter, tmp_path, monkeypatch):
    if not exporter.module:
        pytest.skip("it needs nothing")
    finished_run(tmp_path / "run", STUDY)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=re.escape(f"pip install 'regulab[{exporter.extra}]'")):
        export(tmp_path / "run", exporter.name)
    assert not (tmp_path / "run" / "export").exists()
