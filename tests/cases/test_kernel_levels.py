"""Sets of instructions: what a processor has, what REGULAB_KERNELS leaves of it, and how it is compiled for."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from regulab.cli import app
from regulab.errors import UserError
from regulab.training import machine
from regulab.training.kernels import build as building
from regulab.training.kernels import levels, processor, recipes
from regulab.training.kernels.build import library
from regulab.training.kernels.compiling import compiler
from regulab.training.kernels.levels import X86, allowed, has, level
from regulab.training.kernels.processor import Processor, this_processor
from regulab.training.machine import native_bf16

NAMES = [step.name for step in X86]
NEEDS = {
    step.name: {need for lower in X86[: place + 1] for need in lower.needs} for place, step in enumerate(X86)
}


def having(features, vendor="AuthenticAMD", architecture="x86_64"):
    return Processor(architecture, vendor, frozenset(features), b"identity")


@pytest.mark.parametrize("name", NAMES)
def test_a_processor_has_the_level_whose_features_it_has_all_of(name):
    assert allowed(having(NEEDS[name] | {"sse2", "erms"}), "").name == name
    for missing in NEEDS[name]:
        lower = allowed(having(NEEDS[name] - {missing}), "")
        assert NAMES.index(lower.name) < NAMES.index(name)
        assert missing not in NEEDS[lower.name]


@pytest.mark.parametrize("most", NAMES)
def test_it_is_forced_down_and_never_up(most):
    for there in NAMES:
        expected = min(NAMES.index(most), NAMES.index(there))
        assert allowed(having(NEEDS[there]), most).name == NAMES[expected]


def test_none_leaves_no_level():
    assert allowed(having(NEEDS["amx"]), "none") is None


@pytest.mark.parametrize("most", ["avx", "AVX2", "yes", "0", "neon", " ", "avx2,avx512", "ümläut"])
def test_names_that_no_level_has_are_refused(most):
    with pytest.raises(
        UserError, match="expected one of amx, avx512_bf16, avx512, avx2, generic, none"
    ) as caught:
        allowed(having(NEEDS["avx512"]), most)
    assert "REGULAB_KERNELS" in str(caught.value)


def test_other_architectures_have_levels_of_their_own():
    assert allowed(having({"asimd"}, architecture="aarch64"), "").name == "neon"
    assert allowed(having(set(), architecture="riscv64"), "").name == "generic"
    with pytest.raises(UserError, match="expected one of neon, none"):
        allowed(having({"asimd"}, architecture="aarch64"), "avx2")


CPUINFO = {
    "an Epyc": (
        "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nflags\t\t: fpu avx avx2 fma f16c bmi1 bmi2 movbe "
        "popcnt avx512f avx512dq avx512cd avx512bw avx512vl avx512_bf16\nbugs\t\t: none\n",
        "x86_64",
        "avx512_bf16",
        True,
    ),
    "an old Xeon": (
        "vendor_id\t: GenuineIntel\nflags\t\t: fpu avx avx2 fma f16c bmi1 bmi2 movbe popcnt\nvmx flags\t: avx512f\n",
        "x86_64",
        "avx2",
        False,
    ),
    "a Graviton": (
        "Features\t: fp asimd bf16 sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n",
        "aarch64",
        "neon",
        True,
    ),
    "one that tells nothing": ("", "x86_64", "generic", True),
}


@pytest.mark.parametrize("kind", CPUINFO)
def test_what_linux_tells(kind, tmp_path, monkeypatch):
    text, architecture, name, dots = CPUINFO[kind]
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    found = this_processor.__wrapped__()
    assert allowed(found, "").name == name
    assert levels.dots_are_fast(found) is dots


@pytest.mark.parametrize(
    ("machine_name", "features", "name"),
    [
        ("arm64", "", "neon"),
        ("x86_64", "FPU AVX1.0 FMA F16C MOVBE POPCNT\nAVX2 BMI1 BMI2", "avx2"),
        ("x86_64", "FPU SSE4.2", "generic"),
    ],
)
def test_what_macos_tells(machine_name, features, name, monkeypatch):
    def sysctl(command, **_):
        assert command[0] == "/usr/sbin/sysctl"
        said = {
            "machdep.cpu.features": features.partition("\n")[0],
            "machdep.cpu.leaf7_features": features.partition("\n")[2],
        }
        if not said.get(command[-1]) and "brand" not in command[-1]:
            raise subprocess.CalledProcessError(1, command)
        return SimpleNamespace(stdout=said.get(command[-1], "Apple M2") + "\n")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: machine_name)
    monkeypatch.setattr(subprocess, "run", sysctl)
    found = this_processor.__wrapped__()
    assert allowed(found, "").name == name
    monkeypatch.setattr(recipes, "this_processor", lambda: found)
    monkeypatch.setattr(recipes, "level", lambda: allowed(found, ""))
    monkeypatch.setattr(recipes, "is_forced_down", lambda: False)
    flags = recipes.native(bf16=True).flags
    assert ("-mcpu=apple-m1" in flags) is (machine_name == "arm64")
    assert "-DBF16" in flags


def test_without_cpuinfo_nothing_is_taken_for_granted(monkeypatch, tmp_path):
    """Else a home that machines share would hold kernels for one of them under the name of all."""
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "nowhere")
    unknown = this_processor.__wrapped__()
    assert unknown.identity == b""
    monkeypatch.setattr(recipes, "this_processor", lambda: unknown)
    monkeypatch.setattr(recipes, "level", lambda: allowed(unknown, ""))
    monkeypatch.setattr(recipes, "is_forced_down", lambda: False)
    assert not any(flag.startswith(("-march", "-mcpu", "-mavx")) for flag in recipes.native(bf16=False).flags)


@pytest.mark.parametrize(("vendor", "dots"), [("AuthenticAMD", True), ("GenuineIntel", False)])
def test_products_of_bfloat16_are_taken_where_they_are_fast(vendor, dots, monkeypatch):
    here = having(NEEDS["avx512_bf16"], vendor)
    monkeypatch.setattr(recipes, "this_processor", lambda: here)
    monkeypatch.setattr(recipes, "is_forced_down", lambda: False)
    for step in X86:
        monkeypatch.setattr(recipes, "level", lambda step=step: step)
        expected = dots and step.name == "avx512_bf16"
        assert (recipes.DOTS in recipes.native(bf16=True).flags) is expected
        assert recipes.DOTS not in recipes.native(bf16=False).flags


@pytest.mark.parametrize(
    ("name", "native"), [("generic", False), ("avx2", False), ("avx512", False), ("none", True)]
)
def test_below_bf16_auto_is_float32(name, native, monkeypatch):
    step = None if name == "none" else next(step for step in X86 if step.name == name)
    monkeypatch.setattr(levels, "level", lambda: step)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert native_bf16(torch.device("cpu")) is native
    assert machine.choose_machine("cpu", "auto", kernels=False).precision == ("bf16" if native else "fp32")


@pytest.mark.skipif(
    compiler() is None or this_processor().architecture != "x86_64", reason="no x86-64, or no compiler"
)
@pytest.mark.parametrize("step", X86, ids=lambda step: step.name)
def test_compilers_use_what_a_level_allows_and_no_more(step):
    """Their own word for what they may use: the macros that they define."""
    recipe = recipes.portable(step, having(()), bf16=False, dots=False)
    flags = [flag for flag in recipe.flags if flag.startswith("-m")]
    said = subprocess.run(
        [compiler(), *flags, "-dM", "-E", "-x", "c", "/dev/null"], capture_output=True, text=True
    )
    if said.returncode:
        pytest.skip("the compiler is older than these instructions")
    macros = set(re.findall(r"#define (__\w+__) 1$", said.stdout, re.MULTILINE))
    marks = {"avx2": "__AVX2__", "avx512": "__AVX512BW__", "avx512_bf16": "__AVX512BF16__"}
    for name, macro in marks.items():
        assert (macro in macros) is (NAMES.index(name) <= X86.index(step))
    assert bool({"__AMX_BF16__", "__AMXBF16__"} & macros) is (step.name == "amx")
    assert has(having(NEEDS[step.name]), step)


CHILD = """
import json, torch
from regulab.training.kernels import build
from regulab.training.conditions import conditions
from regulab.training.machine import choose_machine
machine = choose_machine("cpu", "auto")
print(json.dumps([machine.precision, machine.kernels, list(machine.notes), conditions(machine)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(library(torch.float32) is None, reason="no kernels here")
@pytest.mark.parametrize("name", [*(step.name for step in X86 if has(this_processor(), step)), "none"])
def test_a_process_that_is_forced_down_trains_so_and_its_conditions_say_so(name):
    environment = {**os.environ, "REGULAB_KERNELS": name}
    done = subprocess.run(
        [sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, check=True
    )
    precision, kernels, notes, told = json.loads(done.stdout)
    if name == "none":
        assert (kernels, "level" in told) == (False, False)
        assert "REGULAB_KERNELS is none" in notes[0]
        return
    own = allowed(this_processor(), "").name
    forced = f"compiled kernels are for {name}, as REGULAB_KERNELS says, where the processor has {own}"
    assert (kernels, notes, told["level"]) == (True, [forced] if name != own else [], name)
    assert precision == ("bf16" if name in ("avx512_bf16", "amx") else "fp32")
    assert told["convolutions"] in ("matrix units", "dot products", "vectors")


def test_a_level_that_nobody_knows_is_said_at_once(monkeypatch):
    monkeypatch.setenv("REGULAB_KERNELS", "fast")
    level.cache_clear()
    try:
        done = CliRunner().invoke(app, ["run", "--dry-run"])
    finally:
        level.cache_clear()
    assert (done.exit_code, done.stdout) == (2, "")
    assert "the environment variable REGULAB_KERNELS: " in done.stderr
    assert "got 'fast'" in done.stderr


def test_none_for_types_of_maps_that_no_kernel_has():
    assert building.missing(torch.float64) == "there are none for float64"
