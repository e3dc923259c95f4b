"""``regulab compact``: what it refuses, what it writes, and that the files give what the network gave."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from typer.testing import CliRunner

from regulab.cli import app
from regulab.config import build_study
from regulab.data import data_root
from regulab.data import load as load_data
from regulab.evaluation.compaction.onnx_file import missing
from regulab.run_directory.names import weights_path
from regulab.study import run
from regulab.terminal.compaction import compaction_lines


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An epoch on the digits; the files of arm l1 then get zeros, as a stronger penalty would leave them."""
    directory = tmp_path_factory.mktemp("compact") / "study"
    study = build_study(
        {
            "name": "compact",
            "data": {"name": "digits"},
            "train": {"epochs": 1},
            "seeds": 1,
            "arms": {"none": {}, "l1": {"l1": 1e-3}, "dropout": {"dropout": 0.2}},
            "baseline": "none",
        }
    )
    run(study, directory, data_root=data_root())
    file = weights_path(directory, "l1", 0)
    weights = dict(load(file.read_bytes()))
    for name, dead in (("blocks.1.conv.weight", [0, 3, 4]), ("blocks.3.conv.weight", [5, 6])):
        changed = weights[name].copy()
        changed[dead] = 0
        weights[name] = changed
    file.write_bytes(save(weights))
    weights_path(directory, "dropout", 0).unlink()
    return directory


def invoke(*arguments: object):
    return CliRunner().invoke(app, ["compact", *map(str, arguments)])


@pytest.mark.filterwarnings("ignore:.*not as regulab wrote it")  # the zeros above
def test_it_writes_files_that_give_what_the_network_gave(trained, tmp_path):
    done = invoke(trained, "--arm", "l1", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    folder = trained / "compact" / "l1" / "seed-0"
    assert json.loads((folder / "compact.json").read_text()) == found
    assert {one["layer"]: one["after"] for one in found["layers"]}["blocks.1.conv"] < 16
    assert found["after"]["parameters"] < found["before"]["parameters"]
    assert found["after"]["multiply_adds"] < found["before"]["multiply_adds"]
    assert found["predictions"]["different"] == 0
    assert found["predictions"]["images"] == 360
    assert found["predictions"]["largest_difference"] < 1e-4

    spec = importlib.util.spec_from_file_location("compacted_model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "regulab" not in {name.partition(".")[0] for name in vars(module)}
    assert [str(n) for n in range(10)] == module.CLASSES
    study = build_study({"name": "s", "data": {"name": "digits"}, "arms": {"none": {}}, "baseline": "none"})
    test = load_data(study.data, study.protocol, data_root()).open_test()
    network = module.load()
    with torch.no_grad():
        logits = network(network.preprocess(torch.from_numpy(np.array(test.pixels))))
    right = 100 * (logits.argmax(1).numpy() == test.labels).mean()
    assert right == pytest.approx(found["predictions"]["accuracy_after"])


@pytest.mark.filterwarnings("ignore:.*not as regulab wrote it")
def test_the_table_says_what_is_saved_and_folding_takes_norms_away(trained, tmp_path):
    done = invoke(trained, "--arm", "l1", "--fold-batch-norm", "--out", tmp_path / "own")
    assert done.exit_code == 0, done.output
    assert "multiply-adds an image" in done.stdout
    assert "the same class for 360 of 360 images" in done.stdout
    text = (tmp_path / "own" / "model.py").read_text()
    assert "self.blocks_1_norm" not in text, "folded: nothing stands between"
    assert missing() == [] or "no model.onnx" in done.stdout


def test_an_arm_without_zeros_is_told_so(trained, tmp_path):
    done = invoke(trained, "--arm", "none", "--out", tmp_path)
    assert done.exit_code == 0
    assert "nothing to remove" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--arm", "l3"), "no such arm"),
        (("--arm", "l1", "--seed", "7"), "no such seed"),
        (("--arm", "dropout"), "the weights of this run are not here"),
    ],
)
def test_what_is_not_there_is_named(trained, arguments, words):
    done = invoke(trained, *arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_a_folder_that_is_no_run_directory_is_named(tmp_path):
    done = invoke(tmp_path / "nowhere", "--arm", "l1")
    assert done.exit_code == 2
    assert "nowhere" in done.stderr


@pytest.mark.skipif(bool(missing()), reason="needs the extra onnx: onnx, onnxscript, onnxruntime")
@pytest.mark.filterwarnings("ignore")  # onnx's and the exporter's own
def test_onnxruntime_gives_what_torch_gives(trained, tmp_path):
    done = invoke(trained, "--arm", "none", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "model.onnx").stat().st_size > 10_000
    assert json.loads((tmp_path / "compact.json").read_text())["onnx_largest_difference"] < 1e-4


@pytest.mark.parametrize(
    ("as_recorded", "split", "said"),
    [
        (1000, "test", "test split, read again for this check: the same class for 1,000 of 1,000 images"),
        (995, "test", "as the study recorded for 995, whose training rounds otherwise"),
        (700, "test", "as the study recorded for 700, and for 300 not: more than rounding explains"),
        (None, "validation", "validation split, read again"),
    ],
)
def test_what_is_said_of_the_predictions(as_recorded, split, said):
    predictions = {
        "split": split,
        "images": 1000,
        "different": 0,
        "largest_difference": 1e-6,
        "accuracy_before": 90.0,
        "accuracy_after": 90.0,
        "as_recorded": as_recorded,
    }
    empty: dict[str, object] = {
        "layers": [],
        "held": [],
        "unfolded": [],
        "sparse": None,
        "onnx_largest_difference": None,
        "notes": [],
    }
    (line,) = compaction_lines({**empty, "predictions": predictions})
    assert said in line
