"""Kernels that are kept are loaded where they are the person's own and as they were compiled; else compiled anew."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
import torch

from regulab.training.kernels import build as building
from regulab.training.kernels.build import library
from regulab.training.kernels.compiling import compiled, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler that shares torch's threads")
FLOAT32 = torch.float32


@pytest.fixture(scope="module")
def built():
    """The bytes of the float32 kernels."""
    return compiled(compiler(), [*building.FLAGS, "-O1"], building.SOURCE)


@pytest.fixture
def place(tmp_path, monkeypatch, built):
    """An empty cache folder, and how often something was compiled."""
    compiled = []

    def compile_once(*_):
        compiled.append(1)
        return built

    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache"))
    monkeypatch.setattr(building, "compiled", compile_once)
    library.cache_clear()
    yield tmp_path / "cache" / "kernels", compiled
    library.cache_clear()


def in_a_new_process():
    library.cache_clear()
    return library(FLOAT32)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_what_is_kept_is_private_named_by_its_content_and_compiled_once(place, built):
    folder, compiled = place
    before = os.umask(0)
    try:
        assert library(FLOAT32) is not None
    finally:
        os.umask(before)
    path = only_file(folder)
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert path.read_bytes() == built
    assert path.name.endswith(f"-{hashlib.sha256(built).hexdigest()}.so")
    assert in_a_new_process() is not None
    assert len(compiled) == 1


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def replace_by(path: Path, make) -> None:
    path.unlink()
    make(path)


DAMAGE = {
    "cut to nothing": lambda path: os.truncate(path, 0),
    "cut within the header": lambda path: os.truncate(path, 40),
    "cut in the middle": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut by a byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "longer by a byte": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "a flipped bit in the code": lambda path: flip(path, path.stat().st_size // 2),
    "a flipped bit at the end": lambda path: flip(path, path.stat().st_size - 1),
    "a text": lambda path: path.write_text("not a library"),
    "writable for all": lambda path: path.chmod(0o666),
    "writable for the group": lambda path: path.chmod(0o620),
    "a link to a copy": lambda path: path.symlink_to(path.rename(path.parent.parent / "copy.so")),
    "a link to nothing": lambda path: replace_by(path, lambda p: p.symlink_to("nothing")),
    "a pipe": lambda path: replace_by(path, os.mkfifo),
    "renamed to other content": lambda path: path.rename(path.with_name(f"{path.name[:25]}{'0' * 64}.so")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_or_open_to_others_is_compiled_anew(damage, place, built):
    folder, compiled = place
    library(FLOAT32)
    DAMAGE[damage](only_file(folder))
    assert in_a_new_process() is not None
    assert len(compiled) == 2
    path = only_file(folder)
    assert not path.is_symlink()
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (built, 0o600)
    in_a_new_process()
    assert len(compiled) == 2


def test_a_folder_of_the_same_name_is_no_kernel(place):
    folder, compiled = place
    library(FLOAT32)
    replace_by(only_file(folder), Path.mkdir)
    assert in_a_new_process() is not None
    assert len(compiled) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_belongs_to_somebody_else_is_not_loaded(what, place):
    folder, compiled = place
    library(FLOAT32)
    os.chown(only_file(folder) if what == "file" else folder, 12345, 12345)
    assert in_a_new_process() is not None
    assert len(compiled) == 2


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_write_to_is_not_used(mode, place):
    folder, compiled = place
    folder.mkdir(parents=True)
    folder.chmod(mode)
    for count in (1, 2):
        assert in_a_new_process() is not None
        assert len(compiled) == count
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_a_link_is_not_used(place, tmp_path):
    folder, compiled = place
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    for count in (1, 2):
        assert in_a_new_process() is not None
        assert len(compiled) == count
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_relative_cache_folder_is_not_used(place, tmp_path, monkeypatch):
    """As where there is no home, and ``~/.cache`` stays as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: "~/.cache/regulab")
    assert in_a_new_process() is not None
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_it_is_no_error(place, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    folder, _ = place
    monkeypatch.setattr(os, "fsync", full)
    assert library(FLOAT32) is not None
    assert list(folder.iterdir()) == []


def test_what_is_loaded_does_not_hang_on_the_file(place):
    folder, _ = place
    library(FLOAT32)
    kernel = in_a_new_process()
    assert kernel is not None
    assert str(folder) not in Path("/proc/self/maps").read_text()


def test_without_memory_to_run_from_it_is_loaded_from_a_folder(place, monkeypatch):
    def refused(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refused)
    assert library(FLOAT32) is not None


@pytest.mark.slow
def test_processes_that_compile_at_once_all_get_kernels(tmp_path):
    code = (
        "import torch; from regulab.training.kernels.build import library\n"
        "assert library(torch.float32) is not None and library(torch.bfloat16) is not None"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    processes = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(list((tmp_path / "regulab" / "kernels").iterdir())) == 2
