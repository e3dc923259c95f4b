"""A factorial on the command line and in Python: how it is told, and when it is asked about."""

from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import regulab
from regulab.cli import app
from regulab.cli import run as command
from regulab.dry_run import Plan
from regulab.errors import UserError
from tests.cli.test_commands import trained  # noqa: F401  (a fixture)

LARGE = "factors={l1: [0, 1, 2, 3, 4, 5], l2: [0, 1, 2, 3, 4, 5]}"  # 36 arms
SIZE = "36 arms × 2 seeds, 72 runs in 1 fleet, about 1 h 2 min"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def planned(monkeypatch):
    """Stands in for measuring: what would be measured says nothing here."""

    def plan(study, **_):
        runs = [(arm, seed) for arm in study.arms for seed in study.seeds]
        fleet: Any = SimpleNamespace(index=0, engine="fleet", runs=runs)
        return Plan(len(runs), [fleet], 2**20, 3_700.0, 3_600.0, [])

    monkeypatch.setattr("regulab.dry_run.plan", plan)
    monkeypatch.setattr("regulab.api.run.plan", plan)


def invoke(*arguments, answer=None):
    return CliRunner().invoke(app, arguments, input=answer)


def test_show_arms_says_which_factors_make_them():
    lines = invoke("show", "arms", "bn-gbn").stdout.splitlines()
    assert lines[0] == "factors: norm (bn, gbn) × penalty (none, l1, l2, l1+l2): 8 arms, baseline bn"
    assert lines[1:3] == ["bn (batch norm)", "gbn (ghost batch norm, 4 splits)"]


def test_a_dry_run_tells_the_factorial_and_never_asks(planned):
    lines = invoke("run", "--dry-run", LARGE, "--seeds", "2").stdout.splitlines()
    assert lines[0].startswith("factors: l1 (no l1, l1=1, ")
    assert lines[0].endswith("): 36 arms, baseline none")
    assert lines[1].startswith("72 runs in 1 fleet")
    assert lines[2] == "fleet 0 (fleet): 36 arms, “none” … “l1=5+l2=5” × seeds 0–1"


@pytest.mark.parametrize("quiet", [(), ("-q",)], ids=["no-terminal", "quiet"])
def test_a_large_factorial_is_refused_where_nobody_answers(planned, trained, quiet):  # noqa: F811
    done = invoke("run", LARGE, "--seeds", "2", *quiet)
    assert done.exit_code == 2
    assert f"got '{SIZE}; 2 seeds can show no difference of 35 arms, 6 are the fewest'" in done.stderr
    assert "--yes trains it all" in done.stderr
    assert trained.study is None


def test_a_person_is_asked_and_may_decline(planned, trained, monkeypatch):  # noqa: F811
    monkeypatch.setattr(command, "_somebody_answers", lambda: True)
    done = invoke("run", LARGE, "--seeds", "2", answer="n\n")
    assert (done.exit_code, trained.study) == (130, None)
    assert f"This factorial has {SIZE}" in done.stderr
    assert "nothing was trained" in done.stderr
    invoke("run", LARGE, "--seeds", "2", answer="y\n")
    assert len(trained.study.arms) == 36


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([LARGE, "--yes"], id="confirmed"),
        pytest.param(["bn-gbn"], id="small"),
        pytest.param(
            ["arms={" + ", ".join(f"a{n}: {{l1: {n}}}" for n in range(40)) + "}", "baseline=a0"], id="arms"
        ),
    ],
)
def test_others_are_not_asked_about(planned, trained, arguments):  # noqa: F811
    invoke("run", *arguments, "--seeds", "2")
    assert trained.study is not None


def test_one_that_was_begun_goes_on_without_a_question(planned, trained, tmp_path):  # noqa: F811
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "study.yaml").touch()
    assert "asked about first" in invoke("run", LARGE, "--out", "out", "--fresh").stderr
    invoke("run", LARGE, "--out", "out")
    assert trained.study is not None


def test_in_python_it_takes_a_word(planned):
    factors = {"l1": list(range(6)), "l2": list(range(6))}
    with pytest.raises(UserError, match=r"36 arms × 2 seeds.*confirmed=True trains it all"):
        regulab.run("l1-l2", factors=factors, seeds=2)
