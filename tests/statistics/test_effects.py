"""Main effects and interactions against hand computation, and what keeps them from being judged."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from regulab.config import load_study
from regulab.config.factors import factorial_arms
from regulab.records import SEQUENTIAL, Look
from regulab.statistics import compare
from regulab.statistics.design import IN_PLACE_OF_DROPOUT, Design, Factor, design_of
from regulab.statistics.effect_words import effect_notes
from regulab.statistics.effects import Condition, cell_means, effects, factorial_values
from regulab.statistics.holm import holm
from regulab.statistics.step_down import adjusted_p
from regulab.techniques import TECHNIQUES
from tests.reporting.factory import make_records, with_diverged, without

ASSIGNMENT = {"none": {}, "l1": {"l1": 1e-4}, "l2": {"l2": 1e-4}, "l1+l2": {"l1": 1e-4, "l2": 1e-4}}


def design(*sizes):
    factors = tuple(
        Factor(f"f{k}", tuple(f"f{k}={level}" for level in range(size))) for k, size in enumerate(sizes)
    )
    return Design(factors, {cell: str(cell) for cell in np.ndindex(*sizes)})


def judged(made, values, *, metric="test_loss", margin=None, **changes):
    """The effects of values ``(n, *levels)``."""
    by_arm = {arm: dict(enumerate(values[(slice(None), *cell)].tolist())) for cell, arm in made.arms.items()}
    found = factorial_values(made, by_arm, accuracy=metric == "test_accuracy", images=1000)
    condition = {
        "metric": metric, "margin": margin, "key": "k", "sequential": False, "seeds": len(values),
        "diverged": 0, "unjudged": None,
    }  # fmt: skip
    return found, {one.name: one for one in effects(found, Condition(**condition | changes))}


# Recognizing a factorial.


def study_with(arms, baseline="none"):
    return {"arms": arms, "baseline": baseline}


def test_the_assignment_is_a_two_by_two():
    found = design_of(study_with(ASSIGNMENT))
    assert [(one.name, one.levels) for one in found.factors] == [
        ("l1", ("no l1", "l1")),
        ("l2", ("no l2", "l2")),
    ]
    assert found.arms == {(0, 0): "none", (1, 0): "l1", (0, 1): "l2", (1, 1): "l1+l2"}


def test_names_and_order_of_arms_do_not_matter_but_the_baseline_is_first():
    arms = {"x": ASSIGNMENT["l1+l2"], "y": ASSIGNMENT["l2"], "z": {"l1": 0}, "w": ASSIGNMENT["l1"]}
    found = design_of(study_with(arms, baseline="z"))
    assert found.arms[0, 0] == "z"
    assert set(found.arms) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert [one.levels[0] for one in found.factors] == ["no l1", "no l2"]


@pytest.mark.parametrize(
    "arms",
    [
        pytest.param({"none": {}, "l1": {"l1": 1e-4}}, id="one-factor"),
        pytest.param({**ASSIGNMENT, "ema": {"ema": 0.9}}, id="one-arm-more"),
        pytest.param({k: v for k, v in ASSIGNMENT.items() if k != "l2"}, id="one-arm-less"),
        pytest.param({**ASSIGNMENT, "l1+l2": {"l1": 1e-4, "l2": 1e-3}}, id="another-strength-in-both"),
        pytest.param({**ASSIGNMENT, "l1+l2": {"l1": 1e-4}}, id="an-arm-twice"),
        pytest.param({"none": {}, "two": {}}, id="no-technique"),
    ],
)
def test_what_is_no_full_factorial_is_none(arms):
    assert design_of(study_with(arms)) is None


def test_what_the_study_itself_says_of_dropout_is_a_level_of_its_own():
    arms: dict[str, dict[str, float]] = {
        "none": {},
        "a": {"dropout": 0.2},
        "b": {"l1": 1},
        "ab": {"dropout": 0.2, "l1": 1},
    }
    assert design_of(study_with(arms)).factors[0] == Factor("dropout", ("the study's dropout", "dropout=0.2"))
    without_any = {name: {"dropout": 0, **arm} for name, arm in arms.items()}
    assert design_of(study_with(without_any)).factors[0] == Factor("dropout", ("no dropout", "dropout"))


@pytest.mark.parametrize("declared", [False, True], ids=["arms", "factors"])
def test_without_what_stands_in_the_place_of_dropout_an_arm_has_the_studys(declared):
    factors = {
        "spatial_dropout": {"no spatial_dropout": {}, "spatial_dropout": {"spatial_dropout": 0.1}},
        "l1": {"no l1": {}, "l1": {"l1": 1.0}},
    }
    arms = {arm.name: arm.techniques for arm in factorial_arms(factors)}
    study = {**study_with(arms), **({"factors": factors} if declared else {})}
    for dropout, first in (
        (0.05, "the study's dropout"),
        (None, "the study's dropout"),
        (0.0, "no spatial_dropout"),
    ):
        found = design_of({**study, "model": {"dropout": dropout}})
        assert found.factors == (
            Factor("spatial_dropout", (first, "spatial_dropout")),
            Factor("l1", ("no l1", "l1")),
        )
    assert tuple(sorted(n for n, t in TECHNIQUES.items() if t.instead_of)) == IN_PLACE_OF_DROPOUT


def test_declared_factors_are_kept_as_they_were_declared():
    study = load_study("bn-gbn")
    found = design_of(study.model_dump(mode="json"))
    assert [(one.name, one.levels) for one in found.factors] == [
        ("norm", ("bn", "gbn")),
        ("penalty", ("none", "l1", "l2", "l1+l2")),
    ]
    assert found.arms[1, 3] == "gbn+l1+l2"
    # As plain arms they are three factors of two levels.
    plain = design_of({**study.model_dump(mode="json"), "factors": None})
    assert [one.name for one in plain.factors] == ["norm", "l1", "l2"]


def test_levels_of_one_name_are_told_apart_by_their_factor():
    factors = {
        "a": {"off": {}, "on": {"l1": 1e-4}},
        "b": {"off": {}, "on": {"l2": 1e-4}},
    }
    found = design_of({"factors": factors})
    assert found.factors == (Factor("a", ("a=off", "a=on")), Factor("b", ("b=off", "b=on")))
    assert found.arms[1, 0] == "a=on+b=off"
    # No effect is called by what both factors start with.
    first = {"a": {"none": {}, "l1": {"l1": 1e-4}}, "b": {"none": {}, "l2": {"l2": 1e-4}}}
    assert [factor.levels for factor in design_of({"factors": first}).factors] == [
        ("none", "l1"),
        ("none", "l2"),
    ]


# Numbers.


def test_the_interaction_of_a_two_by_two_is_d_both_less_d_of_each():
    values = np.random.default_rng(3).normal(5, 1, (7, 2, 2))
    found, named = judged(design(2, 2), values)
    d = values - values[:, :1, :1]
    contrast = d[:, 1, 1] - d[:, 1, 0] - d[:, 0, 1]
    one = named["f0=1 × f1=1"]
    assert list(one.differences.values()) == pytest.approx(contrast)
    assert one.difference == pytest.approx(contrast.mean())
    half = stats.t.ppf(0.975, 6) * contrast.std(ddof=1) / np.sqrt(7)
    assert one.difference_ci95 == pytest.approx((contrast.mean() - half, contrast.mean() + half))
    assert one.together == pytest.approx(d[:, 1, 1].mean())
    assert one.apart == pytest.approx((d[:, 1, 0] + d[:, 0, 1]).mean())
    assert found.seeds == tuple(range(7))


def test_it_is_the_interaction_of_the_analysis_of_variance():
    """With seeds as blocks: F = MS(interaction)/MS(error) of its contrast is t², and its p that of t."""
    values = np.random.default_rng(5).normal(0, 1, (9, 2, 2)) + np.array([[0, 1], [2, 4.5]])
    _, named = judged(design(2, 2), values)
    n, one = len(values), named["f0=1 × f1=1"]
    # Sums of squares: cell means less row, column and grand means; the error is interaction × block.
    means = values.mean(0)
    residual = means - means.mean(1, keepdims=True) - means.mean(0, keepdims=True) + means.mean()
    interaction = n * (residual**2).sum()
    blocks = (
        values
        - values.mean(2, keepdims=True)
        - values.mean(1, keepdims=True)
        + values.mean((1, 2), keepdims=True)
    )
    error = ((blocks - residual) ** 2).sum() / (n - 1)
    t = one.difference / (one.spread / np.sqrt(n))
    assert t**2 == pytest.approx(interaction / error)
    assert one.difference == pytest.approx(4 * residual[1, 1])


def test_main_effects_and_interactions_of_more_factors_are_means_over_the_rest():
    values = np.random.default_rng(8).normal(0, 1, (5, 2, 3, 2))
    found, named = judged(design(2, 3, 2), values)
    assert len(named) == 1 + 2 + 1 + 2 + 1 + 2
    main = (values[:, :, 2] - values[:, :, 0]).mean((1, 2))
    assert list(named["f1=2"].differences.values()) == pytest.approx(main)
    pair = values[:, 1, 2] - values[:, 0, 2] - values[:, 1, 0] + values[:, 0, 0]
    one = named["f0=1 × f1=2"]
    assert list(one.differences.values()) == pytest.approx(pair.mean(1))
    assert one.apart == pytest.approx(
        ((values[:, 1, 0] - values[:, 0, 0]) + (values[:, 0, 2] - values[:, 0, 0])).mean()
    )
    assert one.together - one.apart == pytest.approx(one.difference)
    assert cell_means(found, (0, 2))[1, 0] == pytest.approx(values[:, 1, :, 0].mean(1))


def test_all_effects_are_one_family():
    values = np.random.default_rng(2).normal(0, 1, (10, 2, 2)) + np.array([[0, 1], [0.5, 3.0]])
    _, named = judged(design(2, 2), values)
    raw = [one.p for one in named.values()]
    assert [one.p_holm for one in named.values()] == pytest.approx(holm(raw))
    assert all(one.p <= one.p_adjusted <= one.p_holm for one in named.values())
    together = [(np.array(list(one.differences.values())),) for one in named.values()]
    stepped = adjusted_p(together, np.random.default_rng(0), two_sided=True)
    assert [one.p_adjusted for one in named.values()] == pytest.approx(stepped)
    signs = np.array(np.meshgrid(*[[-1, 1]] * 10)).reshape(10, -1)
    contrast = np.array(list(named["f0=1 × f1=1"].differences.values()))
    assert named["f0=1 × f1=1"].p == pytest.approx(
        np.mean(np.abs(contrast @ signs) >= abs(contrast.sum()) - 1e-9)
    )


def test_accuracies_are_exact_in_parts_of_an_image():
    """A main effect of half an image in every seed, with a margin of just that, is no equivalence: p is 1."""
    counts = np.full((8, 2, 2), 990)
    counts[:, 1, 1] += 1
    _, named = judged(design(2, 2), counts / 10, metric="test_accuracy", margin=Fraction(1, 20))
    main = named["f0=1"]
    assert set(main.differences.values()) == {0.05}
    assert (main.equivalence_p_adjusted, main.p, main.verdict) == (1.0, 2 / 2**8, "better")
    assert named["f0=1 × f1=1"].differences[0] == 0.1


@pytest.mark.parametrize(
    ("shift", "metric", "verdict"),
    [
        pytest.param(1.0, "test_accuracy", "synergistic", id="accuracy-up"),
        pytest.param(-1.0, "test_accuracy", "antagonistic", id="accuracy-down"),
        pytest.param(0.0, "test_accuracy", "additive", id="nothing"),
        pytest.param(-1.0, "test_loss", "synergistic", id="loss-down"),
        pytest.param(1.0, "test_loss", "antagonistic", id="loss-up"),
        pytest.param(1.0, "weight_norm_l2", None, id="no-direction"),
    ],
)
def test_verdicts_speak_of_adding_up(shift, metric, verdict):
    wobble = np.array([0, 1, -1, 2, -2, 1, -1, 0, 0, 0])[:, None, None] * np.array([[0, 0], [0, 0.01]])
    values = 90 + np.array([[0, 0.5], [0.3, 0.8 + shift]]) + wobble
    _, named = judged(design(2, 2), values, metric=metric, margin=Fraction(1, 5))
    assert named["f0=1 × f1=1"].verdict == verdict


# What a comparison says.


def test_the_interaction_stands_beside_the_keys_that_were_there():
    records = make_records(seeds=10)
    content = json.loads(json.dumps(compare(records).to_json(), allow_nan=False))
    assert list(content)[-5:] == ["arms", "validation_check", "factors", "main_effects", "interactions"]
    (one,) = content["interactions"]
    d = {arm: content["arms"][arm]["differences"] for arm in ("l1", "l2", "l1+l2")}
    assert one["differences"] == pytest.approx({s: d["l1+l2"][s] - d["l1"][s] - d["l2"][s] for s in d["l1"]})
    assert one["words"].startswith("“l1” and “l2”: together they change test accuracy by −0.07 points, ")
    assert (
        "alone by +0.17 in sum: 0.24 points less than the sum of each alone (95 % interval −0.31 to −0.17)"
        in one["words"]
    )
    assert "→ antagonistic: worse together than added up" in one["words"]
    assert "interactions" not in compare(make_records(arms={"none": 0, "l1": 0}, seeds=10)).to_json()


def test_arms_are_judged_as_they_were_beside_their_factors():
    records = make_records(seeds=10)
    other = {**records.study["arms"], "l1+l2": {"l1": 1e-4, "l2": 7e-4}}
    plain = compare(replace(records, study={**records.study, "arms": other}))
    assert plain.factorial is None
    assert compare(records).arms == plain.arms


def test_a_diverged_run_leaves_its_seed_out_and_every_effect_unjudged():
    comparison = compare(with_diverged(make_records(seeds=10), "l1", 3))
    (one,) = comparison.factorial.interactions
    assert (one.pairs, one.verdict, one.p) == (9, "diverged", None)
    assert 3 not in one.differences
    assert one.note == "of 10 seeds 9 have a value in every arm, and count; 1 runs diverged"
    assert one.difference_ci95 is not None


def test_where_an_arm_always_diverges_effects_say_so():
    records = make_records(seeds=3)
    for seed in range(3):
        records = with_diverged(records, "l1", seed)
    factorial = compare(records).factorial
    effects = (*factorial.main_effects, *factorial.interactions)
    assert [(one.pairs, one.verdict) for one in effects] == [(0, "diverged")] * 3


def test_a_metric_without_a_better_direction_says_so():
    made, rng = design(2, 2), np.random.default_rng(0)
    values = rng.normal(size=(10, 2, 2)) * 0.01
    values[:, 1] += 1
    _, found = judged(made, values, metric="weight_norm_l2")
    assert found["f0=1"].verdict is None
    assert found["f0=1"].p_adjusted < 0.05
    assert found["f0=1"].note.startswith(
        "the difference is significant, but weight_norm_l2 has no better direction"
    )
    assert found["f1=1"].verdict == "undecided"
    assert found["f1=1"].note is None


def test_missing_runs_leave_effects_described():
    (one,) = compare(without(make_records(seeds=10), "l2", 3)).factorial.interactions
    assert (one.pairs, one.verdict, one.p) == (9, "undecided", None)
    assert one.note.startswith("not judged yet: 1 of 40 runs are missing")
    assert one.note.endswith("of 10 seeds 9 have a value in every arm, and count")


def test_too_few_seeds_say_so():
    (one,) = compare(make_records(seeds=5)).factorial.interactions
    assert (one.p, one.verdict) == (None, "undecided")
    assert "the smallest is 0.0625; 6 seeds are the fewest" in one.note
    (single,) = compare(make_records(seeds=1)).factorial.interactions
    assert (single.difference_ci95, single.spread, single.note) == (
        None,
        None,
        "one seed allows no test over seeds",
    )


def test_notes_that_effects_share_stand_once_and_seeds_needed_on_one_line():
    told = [
        ("a (main effect)", "few", 12),
        ("b (main effect)", "few", None),
        ("a × b (interaction)", None, 30),
    ]
    assert effect_notes(told) == [
        "a (main effect), b (main effect): few",
        "seeds that find a true effect of one margin 4 times in 5: 12 for a (main effect), "
        "30 for a × b (interaction)",
    ]
    assert effect_notes([("a", "few", None), ("b", "few", None)]) == ["all effects: few"]


def test_under_the_sequential_rule_effects_are_described():
    records = make_records(seeds=10)
    looks = (Look(seeds=tuple(range(10)), arms={}, rule=SEQUENTIAL),)
    (one,) = compare(replace(records, looks=looks)).factorial.interactions
    assert (one.p, one.difference_ci95, one.verdict) == (None, None, None)
    assert one.difference is not None
    assert "described, not judged" in one.note


@pytest.mark.slow
def test_size_coverage_and_power_at_ten_seeds():
    """2,000 studies of a 2 × 2, ten seeds, noise 0.1: the interval of the interaction covers 95 %, a false effect of
    the family is found in at most 5 %, and an interaction of 0.3 (one and a half of its standard deviation) in most."""
    rng, made = np.random.default_rng(11), design(2, 2)
    covered, false, found, studies = 0, 0, 0, 2000
    for _ in range(studies):
        luck = rng.normal(0, 0.3, (10, 1, 1))
        noise = luck + rng.normal(0, 0.1, (10, 2, 2))
        _, named = judged(made, noise)
        low, high = named["f0=1 × f1=1"].difference_ci95
        covered += low <= 0 <= high
        false += any(one.p_adjusted < 0.05 for one in named.values())
        _, shifted = judged(made, noise + np.array([[0, 0], [0, 0.3]]))
        found += shifted["f0=1 × f1=1"].verdict == "antagonistic"
    assert covered / studies == pytest.approx(0.95, abs=0.015)
    assert false / studies <= 0.05 + 0.015
    assert found / studies > 0.8
