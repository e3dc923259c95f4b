"""``compare --fail-if``: exit code 3 where an arm has a verdict, and where none can be given; never a silent pass."""

import json

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from tests.compare.made import made

BASE = (90.0, 90.4, 89.8, 90.1, 90.6, 90.2, 89.9, 90.3)
WORSE = tuple(value - 1 - 0.1 * place for place, value in enumerate(BASE))
BETTER = tuple(value + 1 for value in BASE)
NOISY = tuple(value + (-1) ** place for place, value in enumerate(BASE))


def failing(path, verdicts, *more):
    return CliRunner().invoke(app, ["compare", str(path), *map(str, more), "--fail-if", verdicts])


@pytest.mark.parametrize(
    ("values", "verdicts", "code"),
    [
        (WORSE, "worse", 3),
        (WORSE, "undecided,diverged", 0),
        (BETTER, "worse", 0),
        (BETTER, "better, worse", 3),
        (NOISY, "worse", 0),
        (NOISY, "worse,undecided", 3),
        (BASE, "equivalent", 3),
    ],
)
def test_the_named_verdicts_fail(tmp_path, values, verdicts, code):
    done = failing(made(tmp_path / "run", {"none": BASE, "l2": values}), verdicts)
    assert done.exit_code == code
    assert ("fail: arm “l2” is" in done.stderr) == (code == 3)
    assert "95 % interval" in done.stdout


def test_what_fails_is_named_with_its_difference_and_the_table_stays_whole(tmp_path):
    done = failing(made(tmp_path / "run", {"none": BASE, "bad": WORSE, "good": BETTER}), "worse", "--json")
    assert done.exit_code == 3
    assert done.stderr.splitlines()[-1] == "fail: arm “bad” is worse (-1.35)"
    assert json.loads(done.stdout)["arms"]["bad"]["verdict"] == "worse"


@pytest.mark.parametrize(
    ("arms", "options", "message"),
    [
        ({"none": BASE, "l2": BASE}, {"finished": False}, "not finished: 2 runs are missing"),
        ({"none": BASE[:3], "l2": BETTER[:3]}, {}, "could not be judged: with 3 seeds"),
        ({"none": BASE[:1], "l2": BETTER[:1]}, {}, "one seed allows no test"),
        ({"none": BASE, "l2": (None, *BETTER[1:])}, {}, "1 of 8 runs diverged"),
        ({"none": (None, *BASE[1:]), "l2": BETTER}, {}, "the baseline, arm “none”, diverged"),
    ],
)
def test_what_could_not_be_judged_does_not_pass(tmp_path, arms, options, message):
    done = failing(made(tmp_path / "run", arms, **options), "worse")
    assert done.exit_code == 3
    assert message in done.stderr


@pytest.mark.parametrize(("count", "code"), [(3, 3), (8, 0)])
def test_under_the_sequential_rule_too_few_pairs_do_not_pass(tmp_path, count, code):
    path = made(tmp_path / "run", {"none": BASE[:count], "l2": NOISY[:count]})
    looks = [{"seeds": list(range(count)), "arms": {}, "rule": "sequential"}]
    (path / "looks.json").write_text(json.dumps(looks))
    done = failing(path, "worse")
    assert (done.exit_code, "could not be judged" in done.stderr) == (code, code == 3)


def test_arms_of_several_directories_fail_as_well(tmp_path):
    one, two = made(tmp_path / "one", {"none": BASE}), made(tmp_path / "two", {"none": NOISY, "bad": WORSE})
    assert failing(one, "worse", two).exit_code == 3
    assert failing(one, "better", two).exit_code == 0


@pytest.mark.parametrize(
    ("arms", "verdicts", "more", "message"),
    [
        ({"none": BASE, "l2": BASE}, "wors", [], "no such verdict"),
        ({"none": BASE, "l2": BASE}, "", [], "no such verdict"),
        ({"none": BASE}, "worse", [], "nothing to judge"),
        ({"none": BASE, "l2": BASE}, "worse", ["--metric", "zero_fraction"], "no better direction"),
    ],
)
def test_what_could_never_fail_is_refused(tmp_path, arms, verdicts, more, message):
    done = failing(made(tmp_path / "run", arms), verdicts, *more)
    assert (done.exit_code, message in done.stderr, done.stdout) == (2, True, "")
