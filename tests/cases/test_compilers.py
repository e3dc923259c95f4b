"""Whatever answers to the compiler's name, training goes on without kernels, in time, and the notes say why."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import platformdirs
import pytest
import torch

from regulab.training.kernels import build as building
from regulab.training.kernels import compiling
from regulab.training.kernels.build import library, missing
from regulab.training.kernels.compiling import compiler
from regulab.training.machine import choose_machine

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler that shares torch's threads")
GCC = compiler()


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Puts a file in the compiler's place, with an empty cache."""
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache"))

    def put(content: str | bytes, mode: int = 0o755):
        program = tmp_path / "gcc"
        program.write_bytes(content if isinstance(content, bytes) else content.encode())
        program.chmod(mode)
        monkeypatch.setattr(building, "compiler", lambda: str(program))
        library.cache_clear()

    yield put
    library.cache_clear()


def script(compiling: str, version: str = "echo gcc of the test") -> str:
    """A compiler that answers `--version` as told, and does ``compiling`` with its output in ``$out``."""
    return (
        '#!/bin/bash\nif [ "$1" = --version ]; then\n' + version + "\nexit\nfi\n"
        'while [ "$1" != -o ]; do shift; done\nout=$2\n' + compiling + "\n"
    )


TINY = f"echo 'int other;' | {GCC} -shared -fPIC -x c - -o $out"
NOTHING_DONE = " ".join(f"int {name}(void) {{ return 0; }}" for name in building.FUNCTIONS)
CASES = {
    "fails": (script("echo internal error >&2; exit 1"), "failed (internal error)"),
    "fails without a word": (script("exit 3"), "failed (exit code 3)"),
    "is killed": (script("kill -9 $$"), "failed (exit code -9)"),
    "hangs": (script("sleep 100"), "did not end within 0.4 seconds"),
    "hangs, with a child": (script("sleep 100 & wait"), "did not end within 0.4 seconds"),
    "closes its output and hangs": (script("exec >&- 2>&-; sleep 100"), "did not end within 0.4 seconds"),
    "waits for input": (script("cat; exit 1"), "failed"),
    "hangs when asked for its version": (script("exit 0", "sleep 100"), "did not end within 0.4 seconds"),
    "prints without end": (script("yes"), "prints without end"),
    "prints without end what it is": (script("exit 0", "cat /dev/zero"), "prints without end"),
    "has no version": (script("exit 0", "exit 1"), "failed"),
    "leaves a child that holds the pipe": (script("sleep 3 & exit 1"), "failed (exit code 1)"),
    "writes nothing": (script("exit 0"), "wrote nothing"),
    "writes text": (script("echo not a library > $out"), "no shared library"),
    "writes nothing into the file": (script(": > $out"), "no shared library"),
    "writes the half": (script(f"{TINY}; truncate -s 9000 $out"), "no shared library"),
    "writes an object": (script(f"echo 'int x;' | {GCC} -c -x c - -o $out"), "no shared library"),
    "writes a program": (script(f"echo 'int main(){{}}' | {GCC} -x c - -o $out"), "cannot be loaded"),
    "makes a pipe": (script("mkfifo $out"), "wrote nothing"),
    "makes a folder": (script("mkdir $out"), "wrote nothing"),
    "makes a link": (script("ln -s /bin/true $out"), "no place to compile"),
    "compiles something else": (script(TINY), "lacks the kernels' functions"),
    "computes nothing": (
        script(f"echo '{NOTHING_DONE}' | {GCC} -shared -fPIC -x c - -o $out"),
        "differs from torch's layers",
    ),
    "is no program": (b"\x7fELF nonsense", "cannot be run"),
    "is a text": ("hello", "cannot be run"),
}


@pytest.mark.parametrize("case", CASES)
def test_there_are_no_kernels_and_the_notes_say_why(case, answers, monkeypatch):
    content, reason = CASES[case]
    answers(content)
    if "hangs" in case:
        monkeypatch.setattr(compiling, "ANSWER_SECONDS", 0.4)
        monkeypatch.setattr(compiling, "COMPILE_SECONDS", 0.4)
    start = time.monotonic()
    machine = choose_machine("cpu", "fp32")
    assert time.monotonic() - start < 20
    assert not machine.kernels
    (note,) = [note for note in machine.notes if "kernels" in note]
    assert note.startswith("no compiled kernels, torch's layers do their work: ")
    assert reason in note
    assert library(torch.float32) is None


def test_one_that_may_not_be_run_or_is_gone(answers, monkeypatch):
    answers("#!/bin/sh\n", mode=0o644)
    assert "cannot be run: Permission denied" in missing(torch.float32)
    monkeypatch.setattr(building, "compiler", lambda: "/nowhere/gcc")
    library.cache_clear()
    assert missing(torch.float32) == "/nowhere/gcc cannot be run: No such file or directory"
    monkeypatch.setattr(building, "compiler", lambda: None)
    library.cache_clear()
    assert "no C compiler" in missing(torch.float32)


def test_nothing_of_a_compiler_that_hung_lives_on(answers, tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "COMPILE_SECONDS", 0.4)
    answers(script(f"sleep 100 & echo $! $$ > {tmp_path}/started; wait"))
    assert library(torch.float32) is None
    for process in (tmp_path / "started").read_text().split():
        state = subprocess.run(["ps", "-o", "stat=", "-p", process], capture_output=True, text=True).stdout
        assert state.strip() in ("", "Z")


# What is wrong, and how the kernels' source is changed for it; in bfloat16 rounding would hide a little.
WRONG = {
    "the gradient of β": "s/>dbeta[k] = />dbeta[k] = FACTORf * /",
    "a scale": "s/= block->gamma[k] \\/ sqrtf/= FACTORf * block->gamma[k] \\/ sqrtf/",
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fault", WRONG)
def test_kernels_that_compute_a_little_else_are_found(fault, dtype, answers, tmp_path):
    change = (
        WRONG[fault].replace("[", "\\[").replace("FACTOR", "1.00001" if dtype == torch.float32 else "1.02")
    )
    source = building.SOURCE.parent
    answers(
        script(
            f"cp {source}/*.[ch] {tmp_path}; sed -i '{change}' {tmp_path}/statistics.h\n"
            f"cmp -s {source}/statistics.h {tmp_path}/statistics.h && exit 9\n"
            f'exec {GCC} "${{flags[@]}}" {tmp_path}/between.c -o $out -lm'
        ).replace("while [", 'flags=("${@:1:$#-4}")\nwhile [', 1)
    )
    assert "differs from torch's layers" in missing(dtype)
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_a_study_trains_beside_a_compiler_that_hangs(tmp_path):
    program = tmp_path / "bin" / "gcc"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nsleep 1000\n")
    program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "regulab", "run", "--dry-run", "--epochs", "1", "--seeds", "1"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (
        f"no compiled kernels, torch's layers do their work: {program} did not end within 5 s" in done.stdout
    )
