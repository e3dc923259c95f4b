"""A wheel's kernels: taken without a compiler, only where they fit, and never of other sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import platformdirs
import pytest
import torch

import regulab
from regulab.training.kernels import build as building
from regulab.training.kernels import prebuilt as prebuilding
from regulab.training.kernels import recipes
from regulab.training.kernels.build import library, missing
from regulab.training.kernels.compiling import NoKernels, compiler
from regulab.training.kernels.levels import X86, allowed, has, level
from regulab.training.kernels.prebuilt import Variant, prebuild, prebuilt, variants
from regulab.training.kernels.processor import Processor, this_processor
from regulab.training.machine import choose_machine

HERE = this_processor()
pytestmark = pytest.mark.skipif(
    library(torch.float32) is None or compiler() is None or not has(HERE, X86[1]),
    reason="no kernels, no compiler, or no x86-64 with AVX2",
)
AVX2, AVX512, BF16 = X86[1:4]
EPYC = Processor("x86_64", "AuthenticAMD", frozenset(n for step in X86[:4] for n in step.needs), b"an Epyc")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The folder of a wheel's kernels for AVX2, not optimized."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("wheel") / "prebuilt"
    patch.setattr(recipes, "FLAGS", (*recipes.FLAGS, "-O0"))
    with pytest.MonkeyPatch.context() as only:
        only.setattr(
            prebuilding, "variants", lambda _: [Variant(AVX2, bf16, False) for bf16 in (False, True)]
        )
        said = prebuild(HERE, folder)
    yield folder
    patch.undo()
    assert [line.endswith(" bytes") for line in said] == [True, True]


@pytest.fixture
def installed(wheel, tmp_path, monkeypatch):
    """A wheel's kernels in the place of those that are there, no compiler, and an empty cache."""
    folder = Path(shutil.copytree(wheel, tmp_path / "prebuilt"))
    monkeypatch.setattr(
        building, "prebuilt", lambda step, processor, bf16: prebuilt(step, processor, bf16, folder)
    )
    monkeypatch.setattr(building, "compiler", lambda: None)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache"))
    library.cache_clear()
    yield folder
    library.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_a_compiler_they_are_taken(dtype, installed):
    assert missing(dtype) is None
    found = building.built(dtype)
    assert (found.level, found.origin) == (AVX2, f"from the wheel ({building.NO_COMPILER})")
    machine = choose_machine("cpu", "fp32")
    assert machine.kernels
    (note,) = machine.notes
    assert note.startswith("compiled kernels are ")
    assert note.endswith(found.origin)


def test_with_a_compiler_that_fails_they_are_taken_too(installed, monkeypatch):
    def fails(*_):
        raise NoKernels("gcc failed (internal error)")

    monkeypatch.setattr(building, "compiler", compiler)
    monkeypatch.setattr(building, "compiled", fails)
    assert building.built(torch.float32).origin == "from the wheel (gcc failed (internal error))"


def test_a_compiler_compiles_all_the_same(installed, monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr(building, "compiler", compiler)
    monkeypatch.setattr(building, "prebuilt", never)
    monkeypatch.setattr(recipes, "FLAGS", (*recipes.FLAGS, "-O0"))
    assert building.built(torch.float32).origin.startswith("compiled by ")


def change(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "of other sources":
        key = path.stem.rpartition("-")[2].encode()
        path.write_bytes(content.replace(key, b"0123456789abcdef"))
    elif how == "a link":
        path.rename(path.with_suffix(".other"))
        path.symlink_to(path.with_suffix(".other"))
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["cut", "of other sources", "a link", "gone"])
def test_what_is_not_as_it_was_built_is_not_taken(how, installed):
    for path in installed.iterdir():
        change(path, how)
    assert missing(torch.float32) == f"{building.NO_COMPILER}{building.NONE_CAME}"


def test_other_sources_have_other_names(installed, monkeypatch):
    monkeypatch.setattr(recipes, "sources", lambda: b"changed")
    assert missing(torch.float32) == f"{building.NO_COMPILER}{building.NONE_CAME}"


def test_a_processor_without_what_they_need_has_none(wheel):
    for features in (frozenset(), frozenset(AVX2.needs[:-1])):
        plain = Processor("x86_64", "AuthenticAMD", features, b"another")
        assert prebuilt(allowed(plain, ""), plain, bf16=False, folder=wheel) is None
    arm = Processor("aarch64", "0x41", frozenset({"asimd"}), b"another")
    assert prebuilt(allowed(arm, ""), arm, bf16=False, folder=wheel) is None
    assert prebuilt(allowed(HERE, "avx2"), HERE, bf16=False, folder=wheel)[1] == AVX2
    assert prebuilt(allowed(HERE, "generic"), HERE, bf16=False, folder=wheel) is None


def test_float32_lacks_nothing_where_only_products_of_bfloat16_are_newer(installed, monkeypatch):
    """A wheel has no float32 kernels for AMX, as they would be those for AVX-512."""
    lower = building.Built(building.built(torch.float32).library, AVX512, "from the wheel (…)", "digest")
    monkeypatch.setattr(building, "built", lambda dtype: lower)
    monkeypatch.setattr(building, "allowed", lambda processor, most: X86[-1])
    monkeypatch.setattr(building, "is_forced_down", lambda: False)
    assert building.remark(torch.float32) == "compiled kernels are from the wheel (…)"
    assert building.remark(torch.bfloat16) == (
        "compiled kernels are for avx512, where the processor has amx, from the wheel (…)"
    )
    monkeypatch.setattr(building, "is_forced_down", lambda: True)
    assert "as REGULAB_KERNELS says" in building.remark(torch.float32)


@pytest.mark.parametrize(
    ("vendor", "bf16", "expected"),
    [
        ("AuthenticAMD", True, "avx512_bf16-bf16-dots"),
        ("GenuineIntel", True, "avx512_bf16-bf16"),
        ("AuthenticAMD", False, "avx512-fp32"),
    ],
)
def test_the_best_that_fits_is_taken(vendor, bf16, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(prebuilding, "whole", lambda content: True)
    monkeypatch.setattr(prebuilding, "has_key", lambda content, key: True)
    for variant in variants(EPYC):
        name, key, _ = variant.file(EPYC)
        (tmp_path / name).write_text(name.removesuffix(f"-{key}.so"))
    here = Processor("x86_64", vendor, EPYC.features, b"here")
    content, step = prebuilt(BF16, here, bf16, folder=tmp_path)
    assert content.decode() == f"{sys.platform}-x86_64-{expected}"
    assert step == (BF16 if bf16 else AVX512)


def test_what_cannot_be_compiled_is_left_out_and_the_rest_is_built(tmp_path, monkeypatch):
    def old(program, flags, source):
        if "-mavx512bf16" in flags:
            raise NoKernels("unrecognized -mavx512bf16")
        return b"library"

    monkeypatch.setattr(prebuilding, "compiled", old)
    said = prebuild(EPYC, tmp_path / "prebuilt")
    assert sum("is left out: unrecognized" in line for line in said) == 3
    assert len(list((tmp_path / "prebuilt").iterdir())) == len(said) - 3 == 4


def test_without_a_compiler_a_wheel_has_none_and_keeps_none_of_before(tmp_path, monkeypatch):
    (tmp_path / "prebuilt").mkdir()
    (tmp_path / "prebuilt" / "stale.so").write_text("of other sources")
    monkeypatch.setattr(prebuilding, "compiler", lambda: None)
    assert prebuild(HERE, tmp_path / "prebuilt") == ["no C compiler: the wheel brings no kernels along"]
    assert not (tmp_path / "prebuilt").exists()


def test_a_checkout_has_none():
    assert not prebuilding.FOLDER.exists()


CHILD = """
import torch, regulab
from regulab.training.kernels import build
assert build.missing(torch.float32) is None, build.missing(torch.float32)
print(regulab.__file__, build.built(torch.float32).level.name, build.built(torch.float32).origin, sep="\\n")
"""


@pytest.mark.slow
def test_a_wheel_trains_where_no_compiler_is(tmp_path):
    root, source = Path(regulab.__file__).parents[2], tmp_path / "source"
    shutil.copytree(root / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('..'))"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (made,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(made).extractall(tmp_path / "site")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "REGULAB_KERNELS"},
        "PATH": str(tmp_path / "no-programs"),
        "PYTHONPATH": str(tmp_path / "site"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    where, name, origin = done.stdout.splitlines()
    assert where.startswith(str(tmp_path / "site"))
    assert name == allowed(HERE, "avx512").name  # beyond it there is nothing for float32
    assert origin == f"from the wheel ({building.NO_COMPILER})"
    assert level() is not None
