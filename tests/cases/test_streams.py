"""Closed and full standard streams, and readers that leave: no traceback, and no work is lost for a line."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from regulab.process.outputs import Open, Steady
from tests.samples import finished_run
from tests.test_resume import same, trace

REGULAB = f"{sys.executable} -m regulab"
SMALL = "run --seeds 1 --epochs 1 --arms none,l1 --out"


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)


LOST = "error: stdout: the results could not be written: "
FULL, CLOSED = "No space left on device\n", "it is closed\n"


@pytest.mark.parametrize(("streams", "word"), [(">/dev/full", FULL), (">&-", CLOSED)])
def test_results_that_could_not_be_written_are_an_error(streams, word, tmp_path):
    done = shell(f"{REGULAB} --version {streams}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", LOST + word)


@pytest.mark.parametrize("streams", ["2>/dev/full", "2>&-", ">&- 2>&- <&-"])
def test_messages_that_could_not_be_written_change_no_exit_code(streams, tmp_path):
    done = shell(f"{REGULAB} nothing {streams}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_results_are_whole_where_messages_are_lost(tmp_path):
    assert shell(f"{REGULAB} --version 2>&-", tmp_path).stdout.startswith("regulab ")


def test_a_reader_that_leaves_is_told_nothing(tmp_path):
    done = shell(f"set -o pipefail; {REGULAB} --version | true", tmp_path)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "compare run",
        "compare run --json",
        "report run",
        "show models",
        "show techniques l1",
        "data verify mnist --data-root none",
        "run --dry-run --seeds 1 --epochs 1",
    ],
)
def test_every_command_loses_its_results_alike(command, tmp_path):
    finished_run(tmp_path / "run")
    expected = shell(f"{REGULAB} {command}", tmp_path).returncode
    for streams, word in ((">/dev/full", FULL), (">&-", CLOSED), ("2>&- >&-", "")):
        done = shell(f"{REGULAB} {command} {streams}", tmp_path)
        assert done.returncode == (expected or 1)
        assert "Traceback" not in done.stderr
        assert word == "" or expected or done.stderr.endswith(LOST + word)


def test_a_pipe_that_does_not_block_gets_everything():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    text = "".join(f"line {number}\n" for number in range(40_000))
    code = (
        "from regulab.process import outputs; outputs.secure();"
        "print(''.join(f'line {n}\\n' for n in range(40_000)), end=''); outputs.flush()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=writer) as process:
        os.close(writer)
        with open(reader, encoding="utf-8") as file:
            assert file.read() == text
    assert process.returncode == 0


class Failing(io.RawIOBase):
    """A file on a disk that is full from its fifth byte on."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        if len(self.taken) >= 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.taken += bytes(data)[:4]
        return min(4, len(data))


def test_what_fails_once_is_remembered_and_never_raised():
    raw = Failing()
    steady = Steady(raw)
    stream = io.TextIOWrapper(io.BufferedWriter(steady), encoding="utf-8")
    for _ in range(3):
        print("lines", file=stream, flush=True)
    assert raw.taken == b"line"
    assert steady.lost.errno == errno.ENOSPC


def test_a_stream_that_somebody_closes_stays_open():
    raw = io.BytesIO()
    steady = Steady(cast(io.RawIOBase, raw))
    stream = Open(io.BufferedWriter(steady), encoding="utf-8")
    stream.close()
    print("after all", file=stream, flush=True)
    assert raw.getvalue() == b"after all\n"


@pytest.mark.slow
def test_a_study_trains_whatever_becomes_of_its_streams(tmp_path):
    assert shell(f"{REGULAB} {SMALL} whole", tmp_path).returncode == 0
    whole = trace(tmp_path / "whole")
    for name, streams, code in (
        ("a", "2>/dev/full", 0),
        ("b", ">&- 2>&- <&-", 1),
        ("c", "2>&1 | true", 1),
        ("d", "2>&1 | head -1", 1),
        ("e", ">/dev/full", 1),
    ):
        done = shell(f"set -o pipefail; {REGULAB} {SMALL} {name} {streams}", tmp_path)
        assert done.returncode == code, streams
        assert "Traceback" not in done.stderr
        same(trace(tmp_path / name), whole)


@pytest.mark.slow
def test_what_a_network_prints_is_no_result(tmp_path):
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "class Chatty(nn.Module):\n"
        "    def __init__(self, in_channels, classes):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(64 * in_channels, classes)\n"
        "    def forward(self, x):\n"
        "        print('a forward pass')\n"
        "        return self.fc(x.flatten(1))\n"
    )
    done = shell(f"{REGULAB} {SMALL} run 'model={{name: \"nets.py:Chatty\"}}'", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "a forward pass" in done.stderr
    assert "a forward pass" not in done.stdout
    assert done.stdout.endswith("report: run/report.html\n")
