"""Arms ranked over datasets, from run directories to the table, the page and the diagram."""

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from regulab.cli import app
from regulab.errors import UserError
from regulab.run_directory.writing import read_records
from regulab.statistics.datasets import by_dataset
from regulab.statistics.same_test_set import members_of
from tests.compare.made import made


def several(folder, count=5, **changes):
    """On every dataset ``none`` is best, ``a`` next and ``b`` last; one seed more shows that means decide."""
    return [
        made(
            folder / f"set{place}",
            {"none": (90, 92), "a": (89, 92), "b": (70, 80 + place)},
            test_hash=f"t{place}",
            classes=("x", f"y{place}"),
            **changes,
        )
        for place in range(count)
    ]


def ranked(paths, metric=None):
    return by_dataset(members_of([(path, read_records(path)) for path in paths]), metric=metric)


def invoke(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_ranks_of_means_over_seeds(tmp_path):
    found = ranked(several(tmp_path))
    assert found.arms == ("none", "a", "b")
    assert found.datasets[2].means == (91.0, 90.5, 76.0)
    assert found.ranking.average == (1.0, 2.0, 3.0)
    assert found.ranking.critical_difference == pytest.approx(1.482, abs=1e-3)
    assert found.ranking.groups == ((0, 1), (1, 2))
    assert "“none” before “b”" in found.notes[0]


def test_table_page_and_diagram(tmp_path):
    done = invoke(*several(tmp_path), "--by", "dataset", "--out", tmp_path / "ranks")
    assert done.exit_code == 0
    assert "average rank" in done.stdout
    assert "(Nemenyi)" in done.stdout
    names = {path.name for path in (tmp_path / "ranks").iterdir()}
    assert names == {"ranks.json", "ranks.md", "critical-difference.png", "critical-difference.svg"}
    page = (tmp_path / "ranks" / "ranks.md").read_text()
    assert "| average rank | | **1.00** | **2.00** | **3.00** |" in page
    assert "](critical-difference.png)" in page
    with Image.open(tmp_path / "ranks" / "critical-difference.png") as picture:
        assert picture.width == 1280
    content = json.loads((tmp_path / "ranks" / "ranks.json").read_text())
    assert content["average_ranks"] == {"none": 1.0, "a": 2.0, "b": 3.0}
    assert json.loads(invoke(*several(tmp_path / "x"), "--by", "dataset", "--json").stdout)["by"] == "dataset"


def test_fewer_than_five_have_no_critical_difference_and_it_says_why(tmp_path):
    done = invoke(*several(tmp_path, 4), "--by", "dataset", "--out", tmp_path / "ranks")
    assert done.exit_code == 0
    assert "4 datasets are too few for a critical difference" in done.stdout
    assert {path.name for path in (tmp_path / "ranks").iterdir()} == {"ranks.json", "ranks.md"}


def test_arms_that_not_all_have_are_left_out_by_name(tmp_path):
    paths = several(tmp_path, 2)
    paths.append(made(tmp_path / "last", {"none": (90, 90), "c": (80, 80), "b": (85, 85)}, test_hash="other"))
    found = ranked(paths)
    assert found.arms == ("none", "b")
    assert "left out, as not all studies have them: arms “a”, “c”" in found.notes


def test_an_arm_that_diverged_is_last_there(tmp_path):
    paths = several(tmp_path, 2)
    paths.append(
        made(tmp_path / "last", {"none": (90, 90), "a": (99, None), "b": (85, 85)}, test_hash="other")
    )
    found = ranked(paths)
    assert found.ranking.ranks[-1] == (1.0, 3.0, 2.0)
    assert "arm “a” diverged on “last” and is last there" in found.notes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_hash": "t0"}, "once more"),
        ({"endpoint": {"metric": "test_loss", "margin": 0.1}}, "other metrics"),
        ({"finished": False}, "not finished"),
    ],
)
def test_what_cannot_be_ranked_is_refused(tmp_path, changes, message):
    paths = several(tmp_path, 2)
    asked = {"test_hash": "other", **changes}
    paths.append(made(tmp_path / "last", {"none": (90, 90), "a": (85, 85)}, **asked))
    done = invoke(*paths, "--by", "dataset")
    assert (done.exit_code, message in done.output) == (2, True)


def test_two_common_arms_are_needed(tmp_path):
    paths = [*several(tmp_path, 1), made(tmp_path / "last", {"none": (90,), "z": (85,)}, test_hash="other")]
    with pytest.raises(UserError, match="fewer than two arms"):
        ranked(paths)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "dataset"], "one dataset"),
        (["--by", "arm"], "nothing to rank by"),
        (["--out", "x"], "expected --by dataset"),
        (["--by", "dataset", "--baseline", "none"], "has no effect"),
        (["--by", "dataset", "--fail-if", "worse"], "has no effect"),
        (["--by", "dataset", "--metric", "zero_fraction"], "no better direction"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, message):
    count = 2 if "--metric" in options else 1
    done = invoke(*several(tmp_path, count), *options)
    assert (done.exit_code, message in done.output) == (2, True)
