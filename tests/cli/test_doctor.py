"""``regulab doctor``: says what is there, what is not, and whether fleets train what the plain loop trains."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import platformdirs
import pytest
import torch
from typer.testing import CliRunner

from regulab.cli import app, findings, self_test
from regulab.cli.findings import Finding, Status, examined
from regulab.training.kernels import compiling, levels
from regulab.training.kernels.levels import X86


@pytest.fixture(autouse=True)
def _no_memory_of_other_tests(monkeypatch):
    monkeypatch.delenv("REGULAB_DEBUG", raising=False)


@pytest.fixture
def no_training(monkeypatch):
    """The self-test takes seconds: here every way of training gives the same."""
    result = self_test.TrainedEpoch(
        torch.tensor([2.0, 2.5]), {"w": torch.tensor([[1.0], [-2.0]])}, kernels=True
    )
    monkeypatch.setattr(self_test, "_trained", lambda way: result)
    monkeypatch.setattr(self_test, "_has_gpu", lambda: False)
    return result


def doctor(*arguments: str):
    return CliRunner().invoke(app, ["doctor", *arguments])


def by_name(stdout: str) -> dict[str, dict[str, str]]:
    return {finding["name"]: finding for finding in json.loads(stdout)["findings"]}


def test_on_this_machine_fleets_train_what_the_plain_loop_trains():
    done = doctor()
    assert done.exit_code == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[-1] == "all is well"
    assert {line.split()[0] for line in lines[:-1]} <= {"ok", "absent"}
    for words in ("fleet on cpu, fp32 ", "fleet on cpu, bf16 ", "Python", "torch", "compiler", "data root"):
        assert words in done.stdout
    assert "losses and weights equal the plain loop's: by" in done.stdout


def test_json_is_only_json_and_says_the_same(no_training):
    done = doctor("--json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout)["ok"] is True
    names = by_name(done.stdout)
    assert names["torch"]["detail"] == torch.__version__
    assert names["fleet on cpu, bf16, kernels"]["status"] == "ok"
    assert "digits here" in names["datasets"]["detail"]


@pytest.mark.parametrize("change", [0.05, float("nan")], ids=["off", "nan"])
def test_a_fleet_that_trains_something_else_is_a_failure(no_training, monkeypatch, change):
    other = replace(no_training, losses=no_training.losses + change)
    monkeypatch.setattr(self_test, "_trained", lambda way: no_training if way.engine == "plain" else other)
    done = doctor()
    assert done.exit_code == 1
    assert "failed  fleet on cpu, fp32" in done.stdout
    assert "differ from the plain loop's" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("failed: fleet on cpu, fp32, fleet on cpu, bf16")


def test_weights_that_differ_are_a_failure_in_float32(no_training, monkeypatch):
    other = replace(no_training, weights={"w": torch.tensor([[1.0], [-2.1]])})
    monkeypatch.setattr(self_test, "_trained", lambda way: no_training if way.engine == "plain" else other)
    statuses = {finding.name: finding.status for finding in self_test.self_test()}
    assert statuses["fleet on cpu, fp32"] == Status.FAILED
    assert statuses["fleet on cpu, bf16"] == Status.OK


def test_without_a_compiler_it_is_absent_and_nothing_fails(no_training, monkeypatch):
    monkeypatch.setattr(compiling, "compiler", lambda: None)
    monkeypatch.setattr("regulab.training.kernels.build.missing", lambda dtype: "no C compiler")
    without = replace(no_training, kernels=False)
    monkeypatch.setattr(self_test, "_trained", lambda way: without)
    done = doctor("--json")
    assert done.exit_code == 0
    names = by_name(done.stdout)
    assert "REGULAB_KERNELS" in names["kernel level"]["detail"]
    absent = ("compiler", "kernels", "kernels float32", "kernels bfloat16", "fleet on cpu, fp32, kernels")
    assert {names[name]["status"] for name in absent} == {"absent"}


def test_a_level_that_was_forced_down_is_said(no_training, monkeypatch):
    plain = X86[0]
    monkeypatch.setattr(levels, "level", lambda: plain)
    monkeypatch.setattr(levels, "ladder_of", lambda _: X86)
    monkeypatch.setattr(levels, "allowed", lambda *_: X86[1])
    said = {finding.name: finding.detail for finding in findings.machine()}
    assert said["kernel level"] == "generic, as REGULAB_KERNELS says; the processor has avx2"
    monkeypatch.setattr(levels, "level", lambda: None)
    none = {finding.name: finding for finding in findings.machine()}
    assert none["kernel level"].detail == "none, as REGULAB_KERNELS says; the processor has avx2"
    assert (none["kernels"].status, none["kernels"].detail) == ("absent", "torch's layers do their work")


def test_a_cache_that_others_could_change_is_said(no_training, monkeypatch, tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "open" / "cache"))
    said = {finding.name: finding for finding in findings.machine()}["kernel cache"]
    assert said.status == Status.ABSENT
    assert (
        said.detail == f"every process compiles its own: others may exchange what is in {tmp_path / 'open'}"
    )


def test_a_torch_that_cannot_be_imported_is_a_finding():
    program = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['regulab', 'doctor', '--json']; "
        "from regulab.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    names = by_name(done.stdout)
    for name in ("torch", "processor", "GPU", "precision", "kernels float32", "plain loop on cpu"):
        assert names[name]["status"] == "failed"
        assert "torch" in names[name]["detail"]
    assert names["datasets"]["status"] == "ok"
    assert not any(name.startswith("fleet") for name in names)


def test_data_roots_that_are_not_there_or_name_nobody(no_training, monkeypatch, tmp_path):
    monkeypatch.setenv("REGULAB_DATA", str(tmp_path / "nowhere"))
    done = doctor("--json")
    assert done.exit_code == 0
    assert by_name(done.stdout)["data root"]["status"] == "absent"
    monkeypatch.setenv("REGULAB_DATA", "~nobody-of-that-name/data")
    done = doctor("--json")
    assert done.exit_code == 1
    assert "no home folder" in by_name(done.stdout)["data root"]["detail"]


def test_files_of_datasets_are_counted(monkeypatch, tmp_path):
    monkeypatch.setenv("REGULAB_DATA", str(tmp_path))
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").write_bytes(b"")
    said = {finding.name: finding.detail for finding in findings.machine()}["datasets"]
    assert "mnist in part (1 of 4 files)" in said
    assert "kmnist" in said.partition("; not here: ")[2].split(", ")


def test_what_a_look_raises_is_one_line():
    def look():
        raise RuntimeError("two\nlines")

    assert examined("x", look) == Finding("x", Status.FAILED, "RuntimeError: two lines")
