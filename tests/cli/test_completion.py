"""What a shell offers after TAB, asked of the program as bash asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regulab.cli import completing
from regulab.config import builtin_studies
from regulab.data import datasets
from regulab.lessons import lessons
from regulab.models import NETS, NORMS
from regulab.techniques import TECHNIQUES
from tests.samples import STUDY, finished_run


def offered(line: str, folder: Path) -> list[str]:
    """The words that `python -m regulab` prints for a line whose end the cursor stands at."""
    words = line.split(" ")
    environment = os.environ | {
        "_REGULAB_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "regulab"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "regulab ",
            [
                "run",
                "path",
                "tune",
                "report",
                "compare",
                "compact",
                "export",
                "show",
                "lesson",
                "init",
                "schema",
                "doctor",
                "data",
            ],
        ),
        ("regulab sh", ["show"]),
        ("regulab init ", ["photos/", "runs/", "table.csv"]),
        ("regulab init photos/", ["photos/cat/"]),
        ("regulab init nowhere/", []),
        ("regulab data ", ["fetch", "cache", "verify"]),
        ("regulab run --until", ["--until-decided"]),
        ("regulab run ", [*builtin_studies(), "broken.yml", "mine.yaml"]),
        ("regulab run mine.yaml --arms none,", ["none,steep", "none,flat"]),
        ("regulab run --arms l1", ["l1", "l1+l2"]),
        ("regulab run mine.yaml arms.more={} --seeds 3 --arms m", ["more"]),
        ("regulab run --data m", ["mnist"]),
        ("regulab run --protocol ", ["holdout", "course", "closed"]),
        ("regulab run --device c", ["cpu", "cuda"]),
        ("regulab show tech", ["techniques"]),
        ("regulab show techniques l", [name for name in TECHNIQUES if name.startswith("l")]),
        ("regulab show arms l1-l2-", ["l1-l2-mnist"]),
        ("regulab show schedules o", ["one_cycle"]),
        ("regulab show keys train.b", ["train.batch_size"]),
        ("regulab show keys train.optimizer.ne", ["train.optimizer.nesterov"]),
        ("regulab lesson batch", ["batch-norm", "batch-norm-position", "batch-norm-test-time"]),
        ("regulab data fetch ", [name for name, dataset in datasets().items() if dataset.files]),
        ("regulab compare runs --baseline ", list(STUDY.arms)),
        ("regulab compare runs --metric balanced", ["balanced_accuracy"]),
        ("regulab compare nowhere --baseline ", []),
        ("regulab run broken.yml --arms ", []),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_words(line, words, tmp_path):
    (tmp_path / "mine.yaml").write_text("arms: {none: {}, steep: {l1: 1}, flat: {l2: 1}}\n")
    (tmp_path / "broken.yml").write_text("arms: {none: {")
    (tmp_path / "table.csv").touch()
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    finished_run(tmp_path / "runs")
    assert offered(line, tmp_path) == words


@pytest.mark.parametrize(
    ("kind", "registered"),
    [("techniques", TECHNIQUES), ("norms", NORMS), ("models", NETS), ("lessons", lessons())],
    ids=["techniques", "norms", "models", "lessons"],
)
def test_names_read_from_files_are_the_registered_ones(kind, registered):
    assert completing.named_in(completing.FOLDERS[kind]) == sorted(registered)


def test_no_tab_waits_for_torch():
    program = (
        "import sys\n"
        "from types import SimpleNamespace as Context\n"
        "from regulab.cli import completing\n"
        "for kind in ('techniques', 'norms', 'models', 'lessons', 'arms', 'keys', 'studies', 'datasets'):\n"
        "    assert completing.names(Context(params={'kind': kind}), ''), kind\n"
        "for values in (completing.studies, completing.datasets, completing.lessons, completing.protocols):\n"
        "    assert values('')\n"
        "assert completing.arms(Context(params={}, args=[]), '')\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_shell_gets_its_script(monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = subprocess.run(
        [sys.executable, "-m", "regulab", "--show-completion", "bash"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_REGULAB_COMPLETE=complete_bash" in done.stdout


def test_python_m_regulab_is_the_same_program(tmp_path):
    program = Path(sys.executable).with_name("regulab")
    for arguments in (["--version"], ["show", "arms"], ["run", "nope"], ["--help"]):
        one, other = (
            subprocess.run([*way, *arguments], cwd=tmp_path, capture_output=True, check=False)
            for way in ([program], [sys.executable, "-m", "regulab"])
        )
        assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
