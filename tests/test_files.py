"""Names that stay in their folder, files that are whole or absent, and the lock."""

import errno
import io
import os
import signal
import stat
import string
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulab.errors import UserError
from regulab.files import LOCK, NAME_LIMIT, Lock, file_name, refusing, write_whole
from regulab.npz import npz_bytes

KEPT = set(string.ascii_letters + string.digits + "+-_.%~")


@pytest.mark.parametrize("name", ["none", "l1", "l1+l2", "L1_1e-4", "a.b", "0"])
def test_ordinary_names_stay_as_they_are(name):
    assert file_name(name) == name


@pytest.mark.parametrize(
    ("name", "coded"),
    [
        ("../x", "%2E.%2Fx"),
        ("a/b", "a%2Fb"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        (".hidden", "%2Ehidden"),
        ("dot.", "dot%2E"),
        ("CON", "%43ON"),
        ("nul.txt", "%6Eul.txt"),
        ("console", "console"),
        ("λ", "%CE%BB"),
        ("100%", "100%25"),
        ("~", "%7E"),
        ("\x00", "%00"),
    ],
)
def test_hostile_names_are_encoded(name, coded):
    assert file_name(name) == coded


@given(st.text(max_size=400))
def test_every_name_is_one_short_safe_component(name):
    coded = file_name(name)
    assert set(coded) <= KEPT
    assert 0 < len(coded) <= NAME_LIMIT
    assert not coded.startswith(".")
    assert not coded.endswith(".")


@given(st.text(max_size=150), st.text(max_size=150))
def test_different_names_get_different_files(first, second):
    assert (file_name(first) == file_name(second)) == (first == second)


def test_long_names_that_share_a_beginning_stay_different():
    names = ["🦉" * 300, "🦉" * 299 + "x", "a" * 300, "a" * 301, "a" * NAME_LIMIT, "a" * (NAME_LIMIT - 1)]
    assert len({file_name(name) for name in names}) == len(names)


def test_write_whole_replaces_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "deep" / "file"
    write_whole(target, b"old")
    write_whole(target, b"new")
    assert target.read_bytes() == b"new"
    assert [entry.name for entry in target.parent.iterdir()] == ["file"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "file"
    write_whole(target, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(target, b"new")
    assert target.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_flushes_no_folders_writes_all_the_same(code, tmp_path, monkeypatch):
    fsync = os.fsync

    def files_only(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EPERM])
def test_what_a_person_can_put_right_is_a_user_error(code, tmp_path):
    with pytest.raises(UserError, match=r"somewhere: cannot write: "), refusing(tmp_path):
        raise OSError(code, os.strerror(code), "somewhere")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_what_the_machine_did_stays_an_os_error(code, tmp_path):
    with pytest.raises(OSError, match=r"\[Errno"), refusing(tmp_path):
        raise OSError(code, os.strerror(code))


def test_a_file_in_the_way_of_a_folder_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        write_whole(tmp_path / "file" / "inner", b"")


def test_npz_reads_back_and_its_bytes_follow_from_the_arrays_alone(monkeypatch):
    arrays: dict[str, np.ndarray] = {
        "a": np.arange(6, dtype=np.int64).reshape(2, 3).T,
        "b": np.array([0.1, np.nan], np.float32),
    }
    first = npz_bytes(arrays)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert npz_bytes({name: array.copy() for name, array in arrays.items()}) == first
    with np.load(io.BytesIO(first)) as loaded:
        assert set(loaded) == {"a", "b"}
        np.testing.assert_array_equal(loaded["a"], arrays["a"])
        np.testing.assert_array_equal(loaded["b"], arrays["b"])
        assert loaded["b"].dtype == np.float32


HOLDER = """
import sys, time
from pathlib import Path
from regulab.files import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_names_its_holder_and_dies_with_it(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"pid {holder.pid}\)"):
            Lock(tmp_path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        Lock(tmp_path).release()
    assert not (tmp_path / LOCK).exists()


def test_a_lock_excludes_in_its_own_process_too_and_goes_when_released(tmp_path):
    lock = Lock(tmp_path)
    with pytest.raises(UserError, match=f"pid {os.getpid()}"):
        Lock(tmp_path)
    lock.release()
    assert list(tmp_path.iterdir()) == []
