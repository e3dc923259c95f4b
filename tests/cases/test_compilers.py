"""Whatever answers to the compiler's name, training goes on without kernels, in time, and the notes say why."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time

import platformdirs
import pytest
import torch

from regulab.data.reading_shown import reading_shown
from regulab.training.kernels import build as building
from regulab.training.kernels import compiling
from regulab.training.kernels.build import library, missing
from regulab.training.kernels.compiling import compiler
from regulab.training.kernels.openmp import torch_threads
from regulab.training.kernels.recipes import SOURCE
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
    "compiles for another processor": (
        # Bytes 18 and 19 of an ELF file name its processor: 0xb7 is ARM's, 0x3e AMD's and Intel's.
        script(
            f"{TINY}; printf $([ $(uname -m) = aarch64 ] && echo '\\\\x3e' || echo '\\\\xb7') "
            "| dd of=$out bs=1 seek=18 conv=notrunc status=none"
        ),
        "cannot be loaded",
    ),
    "finds the disk full": (
        script(f"{TINY}; truncate -s 4096 $out; echo No space left >&2; exit 1"),
        "No space left",
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


def test_a_folder_for_temporary_files_in_which_others_may_exchange_them(answers, tmp_path, monkeypatch):
    """Else they could put a library of their own where the compiler's is about to be read."""
    answers(script(TINY))
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    assert missing(torch.float32) == f"no place to compile: others may exchange what is in {shared}"
    assert list(shared.iterdir()) == []
    library.cache_clear()
    shared.chmod(0o1777)
    assert "lacks the kernels' functions" in missing(torch.float32)


def test_no_folder_for_temporary_files(answers, tmp_path, monkeypatch):
    answers(script(TINY))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert missing(torch.float32) == "no place to compile: No such file or directory"


def test_without_threads_to_share_there_are_no_kernels(monkeypatch):
    """With threads of their own they would fight for the cores with torch's."""
    monkeypatch.setattr(building, "torch_threads", lambda: None)
    library.cache_clear()
    try:
        assert "torch's OpenMP library" in missing(torch.float32)
    finally:
        library.cache_clear()


def test_the_threads_are_those_of_torch():
    number, before = torch_threads(), torch.get_num_threads()
    most = ctypes.CFUNCTYPE(ctypes.c_int)(number.most)
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert most() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("system", "there", "found"),
    [
        ("linux", ["gcc", "clang"], "gcc"),
        ("linux", ["clang"], "clang"),
        ("linux", [], None),
        ("darwin", ["gcc", "clang"], "clang"),
        ("win32", ["gcc"], None),
    ],
)
def test_which_compiler_it_is(system, there, found, monkeypatch):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(compiling, "_has_apple_tools", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there else None)
    assert compiler.__wrapped__() == found


def test_macos_is_not_asked_for_a_compiler_that_it_would_offer_to_install(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert compiler.__wrapped__() is None  # there is no /usr/bin/xcode-select here, or it knows no tools


def test_one_that_fails_at_products_of_bfloat16_compiles_without(monkeypatch):
    tried = []

    def fails(program, flags, source):
        tried.append(flags)
        if "-DDOTS" in flags:
            raise compiling.NoKernels("clang failed (Segmentation fault)")
        return b"library"

    monkeypatch.setattr(building, "compiled", fails)
    assert building._compiled("clang", ["-O3", "-DDOTS", "-DBF16"]) == b"library"
    assert tried == [["-O3", "-DDOTS", "-DBF16"], ["-O3", "-DBF16"]]


def test_one_that_hangs_is_not_asked_again_for_less(monkeypatch):
    tried = []

    def hangs(program, flags, source):
        tried.append(flags)
        raise compiling.NeverEnds("gcc did not end within 180 seconds")

    monkeypatch.setattr(building, "compiled", hangs)
    with pytest.raises(compiling.NoKernels, match="did not end"):
        building._compiled("gcc", ["-DDOTS"])
    assert tried == [["-DDOTS"]]


def test_that_compiling_takes_its_time_is_said_before_and_once(answers, tmp_path):
    answers(script(f'exec {GCC} -shared -fPIC -x c - -o "$out" < /dev/null'))
    said: list[str] = []
    with reading_shown(None, said.append):
        assert library(torch.float32) is None
        assert library(torch.float32) is None
    assert said == [
        f"compiling kernels for float32 on this processor with {tmp_path}/gcc, which takes about ten seconds "
        "and is given up after 180 (once, as they are kept)"
    ]


def test_that_every_process_will_compile_is_said_with_the_reason(answers, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: "not/absolute")
    answers(script("exit 1"))
    said: list[str] = []
    with reading_shown(None, said.append):
        assert library(torch.float32) is None
    assert "in every process, as they cannot be kept: not/absolute/kernels is no absolute path" in said[0]


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
    source = SOURCE.parent
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
