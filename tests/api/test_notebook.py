"""The notebook among the examples, and the Python interface in a kernel."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "l1_l2.ipynb"


OWN = EXAMPLES / "own_arrays.ipynb"


def made_by(name: str):
    pytest.importorskip("nbclient")
    pytest.importorskip("nbformat")
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def maker():
    return made_by("make_notebook")


@pytest.fixture
def own_maker(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)  # it takes `execute` from its neighbour
    return made_by("make_own_notebook")


def kinds(cell) -> list[set[str]]:
    return [set(output.get("data", {"stream": None})) for output in cell["outputs"]]


def outputs_of(cells) -> dict[str, list[set[str]]]:
    """The last line of each code cell, and the kinds of what it shows."""
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    return {"".join(cell["source"]).splitlines()[-1]: kinds(cell) for cell in code}


def test_the_example_is_as_it_is_made(maker):
    made = maker.build("l1-l2", 7, None)
    committed = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert [cell["source"] for cell in made.cells] == ["".join(cell["source"]) for cell in committed]


def test_the_example_shows_tables_pictures_and_text_and_no_errors():
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    shown = outputs_of(cells)
    assert len(cells) <= 16
    assert shown['results = rl.run("l1-l2", seeds=7)'] == [{"text/html", "text/plain"}]
    assert shown["results.compare()"] == [{"text/html", "text/plain"}]
    assert shown["results.curves()"] == [{"image/png", "text/plain"}] * 2
    assert shown['results.misclassified("l2", 25)'] == [{"image/png", "text/plain"}]
    assert shown["results.observations"] == [{"text/html", "text/plain"}]
    text = json.dumps(cells, ensure_ascii=False)
    assert "final epoch, holdout, seeds 0–6" in text
    assert "/home/" not in text
    assert "/tmp/" not in text


@pytest.mark.slow  # a kernel that imports torch and trains: twenty seconds
def test_a_kernel_shows_progress_in_place_and_every_result(maker):
    pytest.importorskip("ipykernel")
    pytest.importorskip("pandas")
    notebook = maker.build("l1-l2", 1, 2)
    maker.execute(notebook)
    shown = outputs_of(notebook.cells)
    assert [len(found) for found in shown.values()] == [1, 1, 2, 1, 1, 1, 1]
    progress = notebook.cells[1]["outputs"][0]["data"]["text/plain"]
    assert progress.startswith("8 of 8 epochs of runs, ")
    assert "l1+l2: 0, epoch 2/2, " in progress


def test_the_example_of_own_arrays_is_as_it_is_made(own_maker):
    made = own_maker.build(7)
    committed = json.loads(OWN.read_text("utf-8"))["cells"]
    assert [cell["source"] for cell in made.cells] == ["".join(cell["source"]) for cell in committed]


def test_the_example_of_own_arrays_keeps_them_and_refuses_another_class():
    text = OWN.read_text("utf-8")
    shown = outputs_of(json.loads(text)["cells"])
    assert shown["results = rl.run(study)"] == [{"text/html", "text/plain"}]
    assert shown["results.compare()"] == [{"text/html", "text/plain"}]
    assert shown['results.misclassified("none", 25)'] == [{"image/png", "text/plain"}]
    assert "SmallNet.py 563 bytes" in text
    assert "changed since this study was begun: the model: its code" in text
    assert "/home/" not in text
    assert "/tmp/" not in text


@pytest.mark.slow  # a kernel that imports torch and trains: half a minute
def test_a_class_and_arrays_of_a_kernel_are_kept(own_maker):
    pytest.importorskip("ipykernel")
    notebook = own_maker.build(1)
    own_maker.execute(notebook)
    said = json.dumps(notebook.cells)
    assert "images.npz" in said
    assert "class SmallNet(nn.Module):" in said
    assert "files of the network: SmallNet.py" in said
