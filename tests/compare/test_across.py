"""Several run directories in one table: what is paired, what is not, what is refused, and what is said."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.errors import UserError
from regulab.records import Mistakes
from regulab.run_directory.reading import read_study
from regulab.run_directory.writing import RunDirectory, read_records
from regulab.statistics import compare
from regulab.statistics.across import compare_across
from regulab.statistics.intervals import mean_interval
from regulab.statistics.same_test_set import members_of, refuse_same_twice
from regulab.statistics.sign_flip import two_sided_p
from regulab.statistics.two_samples import two_sample_p, welch_interval
from tests.compare.made import made, predicted

BASE = (90.0, 90.4, 89.8, 90.1, 90.6, 90.2, 89.9, 90.3)
GOOD = tuple(value + 1 + 0.1 * place for place, value in enumerate(BASE))
SAME = tuple(value + 0.1 * (-1) ** place for place, value in enumerate(BASE))


def compared(*paths, **options):
    return compare_across(members_of([(path, read_records(path)) for path in paths]), **options)


def invoke(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_runs_that_agree_in_seed_weights_and_order_are_pairs(tmp_path):
    one = made(tmp_path / "one", {"none": BASE, "l2": SAME})
    two = made(tmp_path / "two", {"none": BASE, "more": GOOD})
    found = compared(one, two)
    arms = found.comparison.arms
    assert list(arms) == ["none", "l2", "more"]
    assert found.paired == {"none": None, "l2": True, "more": True}
    d = np.array(GOOD) - np.array(BASE)
    assert arms["more"].difference == pytest.approx(d.mean())
    assert arms["more"].difference_ci95 == pytest.approx(mean_interval(d))
    assert arms["more"].p == two_sided_p(np.round(d * 10).astype(int), np.random.default_rng(0)) == 2 / 2**8
    assert arms["more"].p_holm == 4 / 2**8
    assert (arms["more"].verdict, arms["more"].pairs, arms["l2"].verdict) == ("better", 8, "undecided")
    assert "“two: none” has the runs of “none” once more" in str(found.comparison.note)
    assert "explored, not confirmed" in str(found.comparison.note)


def test_a_study_by_itself_and_with_itself_elsewhere_says_the_same(tmp_path):
    one = made(tmp_path / "one", {"none": BASE, "good": GOOD, "same": SAME})
    two = made(tmp_path / "two", {"none": BASE, "good": GOOD})
    alone, across = compare(read_records(one)), compared(one, two).comparison
    for arm in ("good", "same"):
        for key in (
            "mean",
            "ci95",
            "difference",
            "difference_ci95",
            "p",
            "p_holm",
            "verdict",
            "differences",
            "gain",
        ):
            assert getattr(across.arms[arm], key) == getattr(alone.arms[arm], key)


@pytest.mark.parametrize("why", ["weights", "seeds"])
def test_runs_that_do_not_are_two_samples(tmp_path, why):
    one = made(tmp_path / "one", {"none": BASE})
    other = {"weights": "other"} if why == "weights" else {"seeds": range(10, 18)}
    two = made(tmp_path / "two", {"none": SAME, "good": GOOD}, **other)
    found = compared(one, two)
    arm = found.comparison.arms["good"]
    assert list(found.comparison.arms) == ["one: none", "two: none", "good"]
    assert (found.paired["good"], arm.pairs, arm.differences) == (False, 0, None)
    x, y = np.array(GOOD), np.array(BASE)
    assert arm.difference_ci95 == pytest.approx(welch_interval(x, y))
    assert arm.p == two_sample_p(x, y, np.random.default_rng(0))
    assert arm.verdict == "better"
    assert str(arm.note).startswith("unpaired with arm “one: none”")


def test_orders_may_end_early_and_must_agree_until_then(tmp_path):
    one = made(tmp_path / "one", {"none": BASE})
    paths = [one, made(tmp_path / "two", {"none": SAME, "two": GOOD})]
    for ends, agree in (("abc", "ab"), True), (("abc", "ax"), False):
        members = members_of([(path, with_orders(path, end)) for path, end in zip(paths, ends, strict=True)])
        assert compare_across(members).paired["two"] is agree


def with_orders(path, digests):
    records = read_records(path)
    return replace(records, orders={(r.arm, r.seed): tuple(digests) for r in records.results})


def test_another_baseline_is_named_as_the_table_names_it(tmp_path):
    one = made(tmp_path / "one", {"none": BASE, "a": GOOD})
    two = made(tmp_path / "two", {"none": SAME, "a": SAME})
    assert compared(one, two, baseline="two: a").comparison.baseline == "two: a"
    with pytest.raises(UserError, match=r"several studies.*one: none, two: none"):
        compared(one, two, baseline="none")
    with pytest.raises(UserError, match=r"no such arm.*one: none"):
        compared(one, two, baseline="nine")


def test_what_differs_is_said_before_everything_else(tmp_path):
    one = made(tmp_path / "one", {"none": BASE})
    two = made(
        tmp_path / "two", {"none": SAME}, train={"epochs": 7}, model={"name": "cnn10k", "dropout": 0.3}
    )
    first, *_ = compared(one, two).comparison.warnings
    assert "model.dropout (0.05 in “one”, 0.3 in “two”)" in first
    assert "train.epochs (3 in “one”, 7 in “two”)" in first


def test_studies_of_one_name_are_told_apart_by_their_folders(tmp_path):
    one = made(tmp_path / "one", {"none": BASE}, name="same")
    two = made(tmp_path / "two", {"none": SAME}, name="same")
    assert list(compared(one, two).comparison.arms) == ["one: none", "two: none"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_hash": "other"}, "another test set"),
        ({"classes": ("0", "2")}, "other classes"),
        ({"protocol": {"kind": "course"}}, "protocol course"),
        ({"endpoint": {"metric": "test_loss", "margin": 0.1}}, "other metrics"),
        ({"test_hash": None}, "cannot be told"),
    ],
)
def test_what_makes_numbers_incomparable_is_refused(tmp_path, changes, message):
    one = made(tmp_path / "one", {"none": BASE})
    two = made(tmp_path / "two", {"none": SAME}, **changes)
    done = invoke(one, two)
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.parametrize("same", [True, False])
def test_old_records_are_compared_by_labels_and_images(tmp_path, same):
    one, two = (
        made(tmp_path / name, {"none": BASE}, test_hash=None, predictions=True) for name in ("one", "two")
    )
    if not same:
        with RunDirectory.open(two, read_study(two), fresh=False) as store:
            for seed, accuracy in enumerate(BASE):
                store.write_predictions("none", seed, predicted(accuracy, flipped=2))
        with pytest.raises(UserError, match="another test set"):
            compared(one, two)
    else:
        assert list(compared(one, two).comparison.arms) == ["none"]


def test_old_records_with_other_pictures_of_one_index_are_refused(tmp_path):
    paths = [
        made(tmp_path / name, {"none": BASE}, test_hash=None, predictions=True) for name in ("one", "two")
    ]
    wrong = np.arange(898, 1000)
    for shade, path in enumerate(paths):
        images = np.full((len(wrong), 2, 2, 1), shade, dtype=np.uint8)
        with RunDirectory.open(path, read_study(path), fresh=False) as store:
            store.write_mistakes(Mistakes(indices=wrong, images=images))
    with pytest.raises(UserError, match="another test set"):
        compared(*paths)


def test_one_directory_twice_is_refused_by_whatever_path(tmp_path, monkeypatch):
    one = made(tmp_path / "one", {"none": BASE})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="twice"):
        refuse_same_twice([one, one / ".." / "one"])
    done = invoke(one, "one")
    assert (done.exit_code, "twice" in done.output) == (2, True)


def test_a_folder_of_other_things_is_refused(tmp_path):
    one = made(tmp_path / "one", {"none": BASE})
    (tmp_path / "other").mkdir()
    for path in (tmp_path / "other", tmp_path / "nothing"):
        assert invoke(one, path).exit_code == 2


def test_unfinished_studies_are_described_and_not_judged(tmp_path):
    one = made(tmp_path / "one", {"none": BASE})
    two = made(tmp_path / "two", {"none": SAME, "good": GOOD}, finished=False)
    found = compared(one, two).comparison
    assert found.unfinished == 2
    assert (found.arms["good"].p, found.arms["good"].verdict) == (None, "undecided")
    assert "not judged yet" in str(found.arms["good"].note)


def test_diverged_runs_keep_their_verdict(tmp_path):
    one = made(tmp_path / "one", {"none": BASE})
    two = made(tmp_path / "two", {"none": SAME, "lost": (None, *GOOD[1:])})
    arms = compared(one, two).comparison.arms
    assert (arms["lost"].verdict, arms["lost"].p) == ("diverged", None)
    across = compared(two, one, baseline="lost").comparison
    assert across.baseline_diverged
    assert {arm.verdict for name, arm in across.arms.items() if name != "lost"} == {"undecided"}


def test_seeds_that_were_added_after_a_look_are_not_judged_here(tmp_path):
    one = made(tmp_path / "one", {"none": BASE, "good": GOOD})
    two = made(tmp_path / "two", {"none": SAME, "more": [value + 3 for value in BASE]})
    looks = [{"seeds": list(range(n)), "arms": {}, "rule": "sequential"} for n in (6, 8)]
    (two / "looks.json").write_text(json.dumps(looks))
    found = compared(one, two).comparison
    assert found.arms["good"].verdict == "better"
    assert (found.arms["more"].verdict, found.arms["more"].p) == (None, None)
    assert found.arms["more"].difference is not None
    assert "to “two” seeds were added" in str(found.note)


def test_json_has_the_shape_of_a_single_study(tmp_path):
    one = made(tmp_path / "one", {"none": BASE, "good": GOOD})
    two = made(tmp_path / "two", {"none": SAME, "good": SAME})
    content = json.loads(invoke(one, two, "--json").stdout)
    alone = json.loads(invoke(one, "--json").stdout)
    assert alone.keys() <= content.keys()
    assert content["studies"] == {"one": str(one), "two": str(two)}
    arm = content["arms"]["two: good"]
    assert (arm["study"], arm["arm"], arm["paired"], arm["verdict"]) == ("two", "good", True, "undecided")
    assert alone["arms"]["good"].keys() <= arm.keys()


def test_looking_at_several_records_the_look_of_each(tmp_path):
    paths = [made(tmp_path / name, {"none": BASE, "good": GOOD}) for name in ("one", "two")]
    assert invoke(*paths).exit_code == 0
    assert all((path / "looks.json").exists() for path in paths)
