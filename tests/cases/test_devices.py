"""Devices that are not there, or hold no numbers: exit code 2 before anything is read, and what there is."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from regulab.cli import app
from regulab.training.machine import choose_machine

NONE = [
    "meta",
    "cpu:7",
    "cpu:-1",
    "mps",
    "xla",
    "xpu",
    "hpu",
    "vulkan",
    "mkldnn",
    "fpga",
    "",
    " cpu",
    "CPU",
    "cpu:",
    "λ",
]


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_device_is_refused_with_what_there_is(name, tmp_path):
    if name == "xpu" and torch.xpu.is_available():
        pytest.skip("this machine has one")
    done = CliRunner().invoke(app, ["run", "--device", name, "--out", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert done.stderr.startswith(
        f"error: --device: this device is not available; got '{name}'; expected auto"
    )
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:99"])
def test_without_a_cuda_device_it_is_said(name, tmp_path):
    done = CliRunner().invoke(app, ["run", "--dry-run", "--device", name])
    assert done.exit_code == 2
    assert done.stderr.endswith("expected auto or cpu (there is no CUDA device)\n")


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_the_processor_has_one_name(name):
    assert choose_machine(name, "fp32").device == torch.device("cpu")
