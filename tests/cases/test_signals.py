"""Ctrl-C, SIGTERM, SIGHUP at every moment: a word, the exit code, and a study that goes on as if it never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_resume import epochs_once, same, trace

RUN = [sys.executable, "-m", "regulab", "run"]
SMALL = ["--seeds", "2", "--epochs", "6", "--arms", "none,l1", "--out", "run", "train.batch_size=256"]
WORDS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "the terminal is gone",
}
GO_ON = "; give the same command again to go on\n"


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True  # it is over
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


def hear_hangups() -> None:
    """In a child: SIGHUP ends it, also where these tests were started with ``nohup``."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def started(command: list[str], folder: Path, **options) -> subprocess.Popen[str]:
    """The process, once it has taken over the signals; what comes before that is Python's own."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_hangups,
        **options,
    )
    while not catches(process.pid, signal.SIGTERM):
        time.sleep(0.001)
    return process


@pytest.mark.parametrize(
    ("number", "delay"),
    [
        (signal.SIGINT, 0.0),
        (signal.SIGINT, 0.05),
        (signal.SIGINT, 0.12),
        (signal.SIGINT, 0.3),
        (signal.SIGTERM, 0.0),
        (signal.SIGTERM, 0.2),
        (signal.SIGHUP, 0.1),
    ],
)
def test_while_it_imports_it_is_left_at_once(number, delay, tmp_path):
    process = started([*RUN, *SMALL], tmp_path)
    time.sleep(delay)
    process.send_signal(number)
    said = process.communicate()
    assert (process.returncode, *said) == (128 + number, "", f"{WORDS[number]}\n")
    assert list(tmp_path.iterdir()) == []


def program(text: str, **options) -> subprocess.CompletedProcess[str]:
    """Python that has the signals taken over and something begun."""
    head = (
        "import os, signal, sys, time\n"
        "from regulab.process import signals\n"
        "signals.catch()\n"
        "def ask(number=signal.SIGINT): os.kill(os.getpid(), number)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", head + text], capture_output=True, text=True, check=False, **options
    )


def test_an_import_that_swallows_everything_swallows_no_signal(tmp_path):
    (tmp_path / "greedy.py").write_text(
        "import os, signal, time\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    for _ in range(10): time.sleep(0.01)\n"
        "except BaseException:\n"
        "    print('swallowed')\n"
        "print('imported')\n"
    )
    done = program(
        "try:\n"
        "    with signals.unwinding():\n"
        "        import greedy\n"
        "        time.sleep(10)\n"
        "except KeyboardInterrupt: print('stopped', signals.received())\n",
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "imported\nstopped 2\n", "")


def test_a_signal_in_a_finalizer_is_told_again():
    done = program(
        "class Last:\n"
        "    def __del__(self):\n"
        "        ask()\n"
        "        time.sleep(0.01)\n"
        "try:\n"
        "    with signals.unwinding():\n"
        "        Last()\n"
        "        time.sleep(10)\n"
        "except KeyboardInterrupt: print('stopped')\n"
    )
    assert (done.stdout, done.stderr) == ("stopped\n", "")


def test_a_signal_that_was_swallowed_ends_the_study_after_the_epoch():
    done = program(
        "from regulab.cli.watching import GuardedProgress\n"
        "from regulab.progress import Silent\n"
        "try:\n"
        "    with signals.unwinding():\n"
        "        try: ask(); time.sleep(10)\n"
        "        except: print('swallowed')\n"
        "        GuardedProgress(Silent(), 'go on').epoch([])\n"
        "        print('trained on')\n"
        "except KeyboardInterrupt: print('stopped')\n"
    )
    assert (done.stdout, done.stderr) == ("swallowed\nstopped\n", "")


def test_a_second_signal_does_not_wait():
    done = program(
        "try:\n"
        "    with signals.unwinding('go on'):\n"
        "        ask(signal.SIGTERM)\n"
        "        time.sleep(10)\n"
        "finally:\n"
        "    ask()\n"
        "    time.sleep(10)\n"
        "    print('put away')\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "terminated; go on\n")


def test_nohup_is_respected():
    done = program(
        "with signals.unwinding():\n    ask(signal.SIGHUP)\nprint('alive')\n",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert (done.returncode, done.stdout) == (0, "alive\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    done = subprocess.run([*RUN, *SMALL], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return trace(folder / "run")


def lines_of_history(folder: Path) -> int:
    path = folder / "run" / "history.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


STAGES = {
    "the directory is begun": lambda folder: (folder / "run" / "study.yaml").exists(),
    "it trains": lambda folder: lines_of_history(folder) >= 4,
    "it has trained": lambda folder: lines_of_history(folder) >= 24,
    "it has tested": lambda folder: (folder / "run" / "results.csv").exists(),
    "it draws": lambda folder: (folder / "run" / "figures").exists(),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("the directory is begun", signal.SIGINT),
        ("it trains", signal.SIGINT),
        ("it trains", signal.SIGTERM),
        ("it trains", signal.SIGHUP),
        ("it has trained", signal.SIGTERM),
        ("it has tested", signal.SIGINT),
        ("it draws", signal.SIGTERM),
    ],
)
def test_stopped_at_any_stage_it_ends_as_if_it_never_was(stage, number, whole, tmp_path):
    """Three times, each a little later, once with a second signal on its heels."""
    codes = []
    for attempt in range(3):
        process = started([*RUN, *SMALL], tmp_path)
        while process.poll() is None and not STAGES[stage](tmp_path):
            time.sleep(0.002)
        time.sleep(0.11 * attempt)
        process.send_signal(number)
        if attempt == 2:
            time.sleep(0.002)
            process.send_signal(number)
        _, said = process.communicate()
        codes.append(process.returncode)
        assert process.returncode in (0, 128 + number)
        assert "Traceback" not in said
        assert process.returncode == 0 or said.endswith((GO_ON, f"{WORDS[number]}\n"))
    assert 128 + number in codes
    done = subprocess.run([*RUN, *SMALL], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    same(trace(tmp_path / "run"), whole)
    assert epochs_once(tmp_path / "run")


@pytest.mark.slow
def test_a_report_that_is_stopped_is_made_by_the_next(whole, tmp_path):
    subprocess.run([*RUN, *SMALL], cwd=tmp_path, capture_output=True, check=True)
    for number, delay in zip([*WORDS, *WORDS], (0.8, 1.2, 1.5, 1.8, 2.1, 2.4), strict=True):
        process = started([sys.executable, "-m", "regulab", "report", "run"], tmp_path)
        time.sleep(delay)
        process.send_signal(number)
        _, said = process.communicate()
        assert process.returncode in (0, 128 + number)
        assert "Traceback" not in said
        assert [path.name for path in (tmp_path / "run").rglob(".tmp-*")] == []
    subprocess.run([sys.executable, "-m", "regulab", "report", "run"], cwd=tmp_path, check=True)
    same(trace(tmp_path / "run"), whole)


@pytest.mark.slow
def test_on_a_terminal_that_goes_away_it_stops_and_leaves_the_cursor(tmp_path):
    """SIGHUP, and a terminal that takes no more: Ctrl-C as a person presses it, then the window closed."""
    import pty

    for ending in ("key", "window"):
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(tmp_path)
            os.environ["TERM"] = "xterm"
            hear_hangups()
            os.execv(RUN[0], [*RUN, *SMALL, "train.epochs=40", f"name={ending}", "--out", ending])
        seen = b""
        while not (tmp_path / ending / "history.jsonl").exists():
            seen += os.read(terminal, 2**16)
        if ending == "key":
            os.write(terminal, b"\x03")
            try:
                while piece := os.read(terminal, 2**16):
                    seen += piece
            except OSError:  # the other end is closed
                pass
            assert seen.endswith(b"\x1b[?25hinterrupted; give the same command again to go on\r\n")
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == {"key": 130, "window": 129}[ending]
        assert b"Traceback" not in seen
