"""Kernels that are kept are loaded where they are the person's own and as they were compiled; else compiled anew."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import platformdirs
import pytest
import torch

from regulab.data.reading_shown import reading_shown
from regulab.training.kernels import build as building
from regulab.training.kernels import processor
from regulab.training.kernels.build import library
from regulab.training.kernels.check import difference
from regulab.training.kernels.compiling import compiled, compiler
from regulab.training.kernels.own_folders import danger
from regulab.training.kernels.processor import this_processor

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler that shares torch's threads")
FLOAT32 = torch.float32


@pytest.fixture(scope="module")
def quickly():
    """Compiles without optimizing, and once for all tests."""
    known = {}

    def compile_quickly(program, flags, source):
        if tuple(flags) not in known:
            known[tuple(flags)] = compiled(program, [*flags, "-O0"], source)
        return known[tuple(flags)]

    return compile_quickly


@pytest.fixture
def place(tmp_path, monkeypatch, quickly):
    """An empty cache folder, and how often something was compiled."""
    compiled = []

    def compile_once(*recipe):
        compiled.append(quickly(*recipe))
        return compiled[-1]

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


def test_what_is_kept_is_private_named_by_its_content_and_compiled_once(place):
    folder, compiled = place
    before = os.umask(0)
    try:
        assert library(FLOAT32) is not None
    finally:
        os.umask(before)
    path = only_file(folder)
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    (built,) = compiled
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
def test_what_is_damaged_or_open_to_others_is_compiled_anew(damage, place):
    folder, compiled = place
    library(FLOAT32)
    DAMAGE[damage](only_file(folder))
    assert in_a_new_process() is not None
    assert len(compiled) == 2
    path = only_file(folder)
    assert not path.is_symlink()
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (compiled[0], 0o600)
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
    said: list[str] = []
    with reading_shown(None, said.append):
        assert library(FLOAT32) is not None
    assert list(folder.iterdir()) == []
    assert said[1:] == [
        "the next process compiles these kernels again, as they could not be kept: "
        f"{folder}: No space left on device"
    ]


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


# Folders above the cache, and whether what is kept below them is safe from others.
ABOVE = {
    "writable for all": (0o777, False),
    "writable for all, but sticky": (0o1777, True),
    "writable for a group of others": (0o775, False),
    "readable for all": (0o755, True),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders to groups that it is not in")
@pytest.mark.parametrize("far", [False, True], ids=["parent", "grandparent"])
@pytest.mark.parametrize("above", ABOVE)
def test_a_folder_above_that_others_write_to(above, far, place, tmp_path, monkeypatch):
    """There they could put another folder in the cache's place, one of this person's own included."""
    mode, safe = ABOVE[above]
    home = tmp_path / "home"
    cache = home / "deep" / "cache" if far else home / "cache"
    cache.mkdir(parents=True)
    os.chown(home, 0, 54321)
    home.chmod(mode)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(cache))
    _, compiled = place
    for count in (1, 1 if safe else 2):
        assert in_a_new_process() is not None
        assert len(compiled) == count
    assert (cache / "kernels").exists() is safe
    assert building.cache_problem() == (None if safe else f"others may exchange what is in {home}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_above_that_somebody_else_owns(place, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / "cache").mkdir(parents=True)
    os.chown(home, 12345, 12345)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(home / "cache"))
    assert in_a_new_process() is not None
    assert list((home / "cache").iterdir()) == []


def test_a_link_above_is_followed_and_its_target_looked_at(place, tmp_path, monkeypatch):
    (tmp_path / "large").mkdir(mode=0o700)
    (tmp_path / "open" / "large").mkdir(parents=True)
    (tmp_path / "open").chmod(0o777)
    link = tmp_path / "link"
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(link))
    for target, found in ((tmp_path / "large", 1), (tmp_path / "open" / "large", 0)):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert in_a_new_process() is not None
        assert len(list(target.rglob("*.so"))) == found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders to other groups")
@pytest.mark.parametrize(("members", "safe"), [([], True), (["mallory"], False)])
def test_a_group_of_this_person_alone_may_write_above(members, safe, tmp_path, monkeypatch):
    """As where everybody has a group of their own and a umask of 002."""
    own = 54321
    (tmp_path / "cache").mkdir(mode=0o700)
    os.chown(tmp_path, -1, own)
    tmp_path.chmod(0o770)
    person = SimpleNamespace(pw_name="ada", pw_gid=own)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: person)
    monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_name="ada", gr_mem=members))
    assert (danger(tmp_path / "cache") is None) is safe


def test_a_library_of_another_processor_is_not_loaded_under_this_ones_name(place, monkeypatch):
    """As where homes are shared, and somebody copies files and their names, with the right hash of their content."""
    folder, compiled = place
    here = this_processor()
    other = replace(here, identity=b"another processor")
    monkeypatch.setattr(building, "this_processor", lambda: other)
    library(FLOAT32)
    foreign = only_file(folder)
    monkeypatch.setattr(building, "this_processor", lambda: here)
    assert in_a_new_process() is not None
    assert len(compiled) == 2  # the other's key is not this one's
    own = next(path for path in folder.iterdir() if path != foreign)
    key = own.name.split("-")[1]
    own.unlink()
    foreign.rename(folder / f"between-{key}-{foreign.name.split('-')[2]}")
    assert in_a_new_process() is not None
    assert len(compiled) == 3
    assert only_file(folder).read_bytes() == compiled[1]


@pytest.mark.parametrize(
    "line", ["vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU part"]
)
def test_the_key_changes_with_all_that_a_processor_is(line, tmp_path, monkeypatch):
    found = []
    for value in ("1", "2"):
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\t: {value}\ncpu MHz\t: {value}000\n\n")
        monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
        this_processor.cache_clear()
        found.append(this_processor())
    this_processor.cache_clear()
    assert found[0].identity != found[1].identity
    assert b"MHz" not in found[0].identity


def test_a_child_that_was_forked_has_the_kernels(place):
    """On one thread: OpenMP's do not live in a child, and torch's own layers have that limit, too."""
    kernel = library(FLOAT32)
    assert kernel is not None
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        child = os.fork()
        if child == 0:
            os._exit(0 if difference(kernel, FLOAT32) is None else 3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("folder", ["", "relative", "/proc/nowhere", "/dev/null/x", "a" * 5000])
def test_odd_cache_folders(folder, place, monkeypatch):
    _, compiled = place
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: folder)
    assert in_a_new_process() is not None
    assert len(compiled) == 1
    assert building.cache_problem() is not None or folder.startswith(
        "/proc"
    )  # root may write there, it seems


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
