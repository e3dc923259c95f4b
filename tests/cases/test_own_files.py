"""The files that a network is made of: found, kept apart from other people's, hashed, and the same to the end."""

from __future__ import annotations

import hashlib
import random
import sys

import pytest
import torch

from regulab import models
from regulab.config import Model
from regulab.errors import UserError
from regulab.models import build
from regulab.streams import Streams
from tests.cases.own import prepared, study_of, trained

NET = """
import torch
from torch import nn
from layers import block


class Net(nn.Module):
    def __init__(self, in_channels, classes):
        super().__init__()
        self.body, self.head = block(in_channels), nn.Linear(4, classes)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))
"""
LAYERS = """
from torch import nn


def block(inputs):
    return nn.Sequential(nn.Conv2d(inputs, 4, 3), nn.ReLU())
"""
STREAMS = Streams("files", 0)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nets.py").write_text(NET)
    (tmp_path / "layers.py").write_text(LAYERS)
    return tmp_path


def built(folder, name="Net", file="nets.py"):
    return build(Model(name=f"{folder / file}:{name}"), 1, 4, STREAMS)


def hashes(folder, file="nets.py"):
    return set(models.file_hashes(Model(name=f"{folder / file}:Net")))


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("from layers import block", {"layers.py"}),
        ("from .layers import block", {"layers.py"}),
        ("import layers; block = layers.block", {"layers.py"}),
        ("import layers as l; block = l.block", {"layers.py"}),
        ("from parts.blocks import block", {"parts/__init__.py", "parts/blocks.py", "layers.py"}),
        ("import parts.blocks; block = parts.blocks.block", {"parts/__init__.py", "parts/blocks.py", "layers.py"}),
        ("from . import layers; block = layers.block", {"layers.py"}),
        ("from plain.blocks import block", {"plain/blocks.py"}),
        ("def block(n):\n    from layers import block\n    return block(n)", {"layers.py"}),
        ("import sys, os; sys.path.insert(0, os.path.dirname(__file__)); from layers import block", {"layers.py"}),
    ],
)  # fmt: skip
def test_what_stands_beside_a_file_can_be_imported_and_is_hashed(folder, line, files):
    (folder / "parts").mkdir()
    (folder / "parts" / "__init__.py").write_text("from ..layers import block as other\n")
    (folder / "parts" / "blocks.py").write_text(LAYERS)
    (folder / "plain").mkdir()
    (folder / "plain" / "blocks.py").write_text(LAYERS)
    (folder / "aside.py").write_text("nothing imports this")
    (folder / "nets.py").write_text(NET.replace("from layers import block", line))
    modules, paths = set(sys.modules), list(sys.path)
    assert built(folder)(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
    assert hashes(folder) == {"nets.py", *files}
    assert not {name for name in set(sys.modules) - modules if name.partition(".")[0] in ("layers", "parts")}
    assert sys.path == paths
    assert not list(folder.rglob("__pycache__")), "nothing is written into a person's folder"


def test_two_folders_do_not_share_their_modules(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "nets.py").write_text(NET)
    (other / "layers.py").write_text(LAYERS.replace("nn.ReLU()", "nn.Tanh()"))
    first, second = built(folder), built(other)
    assert isinstance(first.body[1], torch.nn.ReLU)
    assert isinstance(second.body[1], torch.nn.Tanh)


def test_names_of_the_standard_library_and_of_torch_keep_their_meaning(folder):
    for name in ("random", "torch", "numpy", "typing"):
        (folder / f"{name}.py").write_text("raise RuntimeError('a file of the same name')")
    (folder / "nets.py").write_text("import random, typing, numpy\n" + NET)
    built(folder)
    assert hashes(folder) == {"nets.py", "layers.py"}
    assert random.random() < 1


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("layers.py", "import nothing_of_this_name", "ModuleNotFoundError.*installed, or in the file's own folder"),
        ("layers.py", "def block(:", r"SyntaxError.*layers.py"),
        ("layers.py", "import sys\nsys.exit(0)", r"ends the program \(sys.exit\(0\)\)"),
        ("layers.py", "raise BaseException('own')", "BaseException: own"),
        ("nets.py", "from ..above import block", "attempted relative import beyond top-level package"),
        ("nets.py", "exit()", "ends the program"),
        ("nets.py", "import argparse\nargparse.ArgumentParser().parse_args(['--no'])", "ends the program"),
        ("nets.py", "input()", "EOFError"),
        ("nets.py", "x = '\0'", "null bytes"),
        ("nets.py", "def f(): f()\nf()", "RecursionError"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_run_is_the_persons_and_named(folder, file, text, message):
    (folder / file).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        built(folder)
    assert "nets.py cannot be imported" in str(caught.value)


@pytest.mark.parametrize("name", ["folder.py", "absent.py", "nets.py/x.py"])
def test_what_is_no_file_is_said(folder, name):
    (folder / "folder.py").mkdir()
    with pytest.raises(UserError, match=r"a folder|no such file|no file"):
        built(folder, file=name)


def test_a_helper_changed_between_seeds_is_refused_and_named(folder, tmp_path):
    study = study_of(f"{folder / 'nets.py'}:Net", arms={"none": {}}, train={"epochs": 1})
    trained(study, tmp_path / "run")
    before = (tmp_path / "run" / "results.csv").read_bytes()
    (folder / "layers.py").write_text(LAYERS.replace("nn.ReLU()", "nn.Tanh()"))
    with pytest.raises(UserError, match=r"changed since this study was begun.*layers\.py"):
        trained(study.model_copy(update={"seeds": (0, 1)}), tmp_path / "run")
    assert (tmp_path / "run" / "results.csv").read_bytes() == before


def test_a_file_that_changes_while_a_study_runs_changes_nothing(folder):
    """All runs of a command train the network that was checked."""
    setup = prepared(study_of(f"{folder / 'nets.py'}:Net"))
    (folder / "layers.py").write_text(LAYERS.replace("nn.ReLU()", "nn.Tanh()"))
    module = setup.module(setup.examples()[0])
    assert isinstance(module.body[1], torch.nn.ReLU)
    again = prepared(setup.study)
    module = again.module(again.examples()[0])
    assert isinstance(module.body[1], torch.nn.Tanh), "the next command reads it anew, in the same second too"


def test_a_single_file_has_the_fingerprint_that_it_always_had(folder):
    """So that studies of earlier versions can be extended: SHA-256 over the hash of the weights and the source."""
    source = NET.replace("from layers import block", LAYERS)
    (folder / "nets.py").write_text(source)
    model, module = Model(name=f"{folder / 'nets.py'}:Net"), built(folder)
    wanted = hashlib.sha256(models.weights_hash(module).encode() + source.encode()).hexdigest()
    assert models.fingerprint(model, [module]) == wanted
