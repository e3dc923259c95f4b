"""What nobody closer has caught ends in one line that names what and where, with the exit code of the contract."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from regulab.cli.exits import MOST_CHARACTERS, explained
from regulab.errors import UserError
from regulab.npz import npz_bytes
from tests.samples import finished_run

HINT = " (REGULAB_DEBUG=1 shows where)"


def raised(action) -> BaseException:
    try:
        action()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (errno.EACCES, 2, "expected permission to use it"),
        (errno.EPERM, 2, "expected permission to use it"),
        (errno.EROFS, 2, "expected permission to use it"),
        (errno.EISDIR, 2, "Is a directory"),
        (errno.ENOTDIR, 2, "Not a directory"),
        (errno.ENAMETOOLONG, 2, "File name too long"),
        (errno.ELOOP, 2, "symbolic links"),
        (errno.ENOSPC, 1, "make room, then give the same command again to go on"),
        (errno.EDQUOT, 1, "make room, then give the same command again to go on"),
        (errno.EIO, 1, "Input/output error"),
        (errno.EMFILE, 1, "Too many open files"),
    ],
)
def test_the_systems_errors_name_the_file(number, code, said):
    message, exit_code = explained(OSError(number, os.strerror(number), "some/file"))
    assert exit_code == code
    assert message.startswith(f"error: some/file: {os.strerror(number)}")
    assert said in message


def test_both_files_of_a_rename_are_named():
    message, _ = explained(OSError(errno.EIO, "Input/output error", "a", None, "b"))
    assert message == f"error: a → b: Input/output error{HINT}"


def test_without_a_file_nobody_but_the_program_can_help():
    assert explained(OSError(errno.EACCES, "Permission denied")) == (f"error: Permission denied{HINT}", 1)


@pytest.mark.parametrize(
    "action",
    [
        lambda: np.empty((10**6, 10**7)),
        lambda: torch.empty((10**7, 10**7)),
        lambda: bytes(2**62),
    ],
    ids=["numpy", "torch", "python"],
)
def test_memory_that_there_is_not(action):
    message, code = explained(raised(action))
    assert code == 1
    assert message.startswith("error: out of memory")
    assert "a smaller train.batch_size need less" in message
    assert "\n" not in message


class Unmade:
    """An array for which there is no memory."""

    shape, dtype = (), np.dtype(np.uint8)

    def __array__(self, *_, **__):
        raise MemoryError


def test_the_place_is_the_last_of_ours_that_an_error_came_through():
    message, code = explained(raised(lambda: npz_bytes({"big": Unmade()})))  # type: ignore[dict-item]
    assert code == 1
    assert message.startswith("error: out of memory in npz.py, line ")


def test_a_program_that_something_else_would_end():
    assert explained(SystemExit(0)) == (f"error: something that was called ended the program{HINT}", 1)


def test_control_characters_are_shown_and_long_messages_cut():
    message, code = explained(UserError("a\x1b[31mred\x00\u202e\udc80", where="b\x07"))
    assert (message, code) == ("error: b\\x07: a\\x1b[31mred\\x00\\u202e\\udc80", 2)
    long, _ = explained(RuntimeError("x" * 10**6))
    assert len(long) < MOST_CHARACTERS + 50
    assert long.endswith("characters)")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_disk_that_is_full_is_named_and_what_was_trained_goes_on(tmp_path):
    command = [
        sys.executable,
        "-m",
        "regulab",
        "run",
        "--seeds",
        "1",
        "--epochs",
        "2",
        "--arms",
        "none",
        "--out",
        "run",
    ]
    limited = ["bash", "-c", 'ulimit -f 20; exec "$@"', "-", *command]
    done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "run/checkpoints/fleet-0.safetensors: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "run").rglob(".tmp-*")) == []
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("command", ["compare", "report"])
def test_a_run_directory_that_may_not_be_read(command, tmp_path):
    finished_run(tmp_path / "run")
    Path(tmp_path, "run", "results.csv").chmod(0)
    done = subprocess.run(
        [sys.executable, "-m", "regulab", command, "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Permission denied" in done.stderr
