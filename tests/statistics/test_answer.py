"""The answer: it names the verdicts that a comparison has and no other, speaks of every arm, and quotes its numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regulab.records import Look
from regulab.statistics import ArmComparison, Comparison, compare
from regulab.statistics.answer import answer, sentences
from regulab.statistics.answer_words import NAMED
from regulab.statistics.number_words import interval, number
from regulab.statistics.question import Question
from regulab.statistics.validation_check import CheckedArm, ValidationCheck
from tests.reporting.factory import make_records, with_diverged, without

VERDICTS = ("better", "worse", "equivalent", "undecided", "diverged")
LEADS = {
    "better": "Found better than",
    "worse": "Found worse than",
    "equivalent": "No difference worth caring about",
    "undecided": "Could not be told",
    "diverged": "Diverged",
    None: "Found to differ",
}
SIGNS = {"better": 1, "worse": -1}


def arm_of(verdict, difference, seeds=10, needed=30, width=0.1):
    if verdict == "diverged":
        return ArmComparison(mean=None, ci95=None, n=0, verdict=verdict)
    return ArmComparison(
        mean=90 + difference, ci95=None, n=seeds, difference=difference, median=difference,
        difference_ci95=(difference - width, difference + width), pairs=seeds, verdict=verdict,
        seeds_needed=needed if verdict == "undecided" else None,
    )  # fmt: skip


def comparison_of(arms, *, metric="test_accuracy", rule="fixed", seeds=10, **changes):
    """A comparison with these arms (name -> `ArmComparison`) beside the baseline “none”."""
    question = Question(
        data="mnist", training_images=None, label_noise=0.0,
        model="cnn10k", epochs=40, images=10_000, planned=10 * (len(arms) + 1), lacking=0,
        declared_baseline="none", strengths={arm: f"({arm} λ=1)" for arm in ("none", *arms)},
        diverged={arm: (int(one.verdict == "diverged"), seeds) for arm, one in arms.items()} | {"none": (0, seeds)},
        apart={},
    )  # fmt: skip
    baseline = ArmComparison(mean=90.0, ci95=None, n=seeds)
    content = {
        "metric": metric, "epoch": "final", "margin": 0.1, "baseline": "none", "seeds": tuple(range(seeds)),
        "protocol": "holdout", "rule": rule, "e_value": None if rule == "fixed" else "self-normalized",
        "e_threshold": None, "looks": None, "first_look": None, "unfinished": 0, "ensembles": None,
        "pairing": {}, "baseline_diverged": False, "note": None, "warnings": (), "question": question,
    }  # fmt: skip
    return Comparison(arms={"none": baseline, **arms}, **{**content, **changes})


verdicts = st.lists(
    st.tuples(st.sampled_from(VERDICTS), st.floats(0.01, 3), st.integers(2, 3000)), min_size=1, max_size=44
)


@settings(max_examples=200, deadline=None)
@given(verdicts, st.sampled_from(["test_accuracy", "test_loss"]), st.sampled_from(["fixed", "sequential"]))
def test_every_arm_is_spoken_of_once_and_by_its_verdict(drawn, metric, rule):
    better = 1 if metric == "test_accuracy" else -1
    arms = {
        f"arm {k}": arm_of(verdict, better * SIGNS.get(verdict, 1) * size, needed=needed)
        for k, (verdict, size, needed) in enumerate(drawn)
    }
    found = comparison_of(arms, metric=metric, rule=rule)
    said, text = sentences(found), answer(found)
    spoken = [arm for one in said for arm in one.arms]
    assert sorted(spoken) == sorted(arms), "each once"
    for one in said:
        for arm in one.arms:
            assert one.lead.startswith(LEADS[arms[arm].verdict])
    there = {one.verdict for one in arms.values()}
    for verdict, lead in LEADS.items():
        assert (lead in text) == (verdict in there)
    for verdict in ("better", "worse"):
        denied = re.search(rf"No arm was found (better or )?{verdict}", text)
        assert bool(denied) == (verdict not in there and there != {"diverged"})
    assert ("equivalent" in re.sub("nor equivalence", "", text)) == ("equivalent" in there)
    for word in ("significant", "no effect", "proves", "helps", "hurts", "None", "nan"):
        assert word not in text


@settings(max_examples=100, deadline=None)
@given(verdicts)
def test_named_arms_stand_with_their_numbers_and_the_rest_is_counted(drawn):
    arms = {
        f"arm {k}": arm_of(verdict, SIGNS.get(verdict, 1) * size, needed=needed)
        for k, (verdict, size, needed) in enumerate(drawn)
    }
    for one in sentences(comparison_of(arms)):
        named = [arm for arm in one.arms if f"“{arm}”" in one.text]
        others = re.search(r"and (\d+) others?\b", one.text)
        assert len(named) + (int(others[1]) if others else 0) == len(one.arms)
        assert len(named) <= NAMED
        for arm in named:
            found = arms[arm]
            if found.difference is None:
                continue
            assert number(found.difference, 2, sign=True) in one.text
            assert interval(found.difference_ci95, 2, sign=True) in one.text


def test_with_44_arms_it_is_still_a_paragraph():
    arms = {f"dropout and l2 {k}": arm_of(VERDICTS[k % 5], 0.1 * k) for k in range(44)}
    text = answer(comparison_of(arms))
    assert len(text.split()) < 360
    assert "whether any of 44 arms changes the test accuracy" in text


def test_of_many_the_best_are_named_best_first_and_the_worst_worst_first():
    arms = {f"b{k}": arm_of("better", 0.1 * k) for k in range(1, 7)}
    arms |= {f"w{k}": arm_of("worse", -0.1 * k) for k in range(1, 7)}
    text = answer(comparison_of(arms))
    assert re.search(r"better than “none”: “b6” .*“b5” .*“b4” .* and 3 others \(\+0\.10 to \+0\.30\)", text)
    assert re.search(r"worse than “none”: “w6” .*“w5” .*“w4” .* and 3 others \(−0\.30 to −0\.10\)", text)
    lower = answer(
        comparison_of({f"b{k}": arm_of("better", -0.1 * k) for k in range(1, 7)}, metric="test_loss")
    )
    assert "(lower is better): “b6”" in lower


ONE_ARM = [
    (arm_of("better", 0.3), "Found better than “none”: “l1” +0.30 points (95 % interval +0.20 to +0.40). No arm was "
     "found worse than “none”."),
    (arm_of("worse", -0.3), "No arm was found better than “none”."),
    (arm_of("worse", -0.3), "Found worse than “none”: “l1” −0.30 points (95 % interval −0.40 to −0.20)."),
    (arm_of("equivalent", 0.0, width=0.05), "No arm was found better or worse than “none”. No difference worth caring "
     "about: “l1” 0.00 points (95 % interval −0.05 to +0.05). Of it a true difference of 0.1 points or more either way "
     "is rejected, which is what “equivalent” means here."),
    (arm_of("undecided", 0.1, needed=31), "Could not be told: “l1” +0.10 points (95 % interval 0.00 to +0.20), where "
     "neither a difference nor equivalence could be shown. About 31 seeds would find a true difference of 0.1 points "
     "4 times in 5; there were 10."),
    (arm_of("undecided", 0.1, needed=8), "The 10 seeds there were find a true difference of 0.1 points 4 times in 5, "
     "or more often; to tell a smaller one takes more."),
    (arm_of("undecided", 0.1, needed=2400), "About 2,400 seeds would find a true difference of 0.1 points 4 times in "
     "5; there were 10, so seeds alone will hardly tell."),
    (arm_of("diverged", 0), "Diverged, and so without a verdict: “l1” (in 1 of 10 runs)."),
]  # fmt: skip


@pytest.mark.parametrize(("one", "told"), ONE_ARM, ids=[str(k) for k in range(len(ONE_ARM))])
def test_in_words(one, told):
    text = answer(comparison_of({"l1": one}))
    assert text.startswith(
        "This study asks whether “l1” (l1 λ=1) changes the test accuracy of network “cnn10k” on data “mnist”. Every "
        "arm was trained with 10 random seeds for 40 epochs each and compared, seed by seed, with arm “none” "
        "(none λ=1), whose mean is 90.00 %. "
    )
    assert told in text
    assert text.endswith(
        "This holds for these strengths, this network and training, and this split with its 10,000 test images; "
        "another strength is another question."
    )


def test_seeds_that_would_tell_by_arm_or_as_a_range():
    arms = {f"a{k}": arm_of("undecided", 0.1, needed=10 * k) for k in (2, 3, 4)}
    assert "About 20 seeds for “a2”, 30 for “a3” and 40 for “a4” would find" in answer(comparison_of(arms))
    arms |= {"a5": arm_of("undecided", 0.1, needed=900)}
    text = answer(comparison_of(arms))
    assert "About 20 to 900 seeds, depending on the arm, would find" in text
    assert "so where hundreds are needed, seeds alone will hardly tell" in text


def test_so_few_seeds_that_no_difference_can_be_found_are_named():
    """“No arm was found better or worse” would sound as if one could have been."""
    text = answer(comparison_of({"l1": arm_of("undecided", 0.9, seeds=5)}, seeds=5))
    few = "Too few seeds to find a difference: however large it is, it takes 6 seeds at least, and there were 5. Could"
    assert few in text
    assert "No arm was found" not in text
    for seeds, rule in ((6, "fixed"), (5, "sequential")):
        more = comparison_of({"l1": arm_of("undecided", 0.9, seeds=seeds)}, seeds=seeds, rule=rule)
        assert "Too few" not in answer(more)
    assert "Too few" not in answer(comparison_of({"l1": arm_of("diverged", 0)}))


def test_a_margin_of_one_test_image_is_called_so():
    """Few test images raise the margin that the study declares."""
    found = comparison_of({"l1": arm_of("undecided", 0.1)}, margin=100 / 360)
    few = replace(found, question=replace(found.question, images=360))
    assert "find a true difference of 0.278 points (one test image) 4 times in 5" in answer(few)
    assert "one test image" not in answer(found)
    assert "one test image" not in answer(replace(few, metric="test_loss"))


def test_differences_that_are_all_equal_have_no_interval():
    text = answer(
        comparison_of({"l1": arm_of("better", 0.3, width=0), "l2": arm_of("equivalent", 0, width=0)})
    )
    assert "“l1” +0.30 points (alike in all 10 seeds). " in text
    assert "“l2” 0.00 points (alike in all 10 seeds). " in text
    arms = {"l1": arm_of("better", 0.3, width=0), "l2": arm_of("better", 0.2)}
    assert (
        "“l1” +0.30 points (alike in all 10 seeds) and “l2” +0.20 (95 % interval +0.10 to +0.30)."
        in answer(comparison_of(arms))
    )


@pytest.mark.parametrize(
    ("changes", "holds"), [({}, True), ({"unfinished": 3}, False), ({"baseline_diverged": True}, False)]
)
def test_what_a_finding_holds_for_is_said_where_something_is_judged(changes, holds):
    found = comparison_of({"l1": arm_of("undecided", 0.1)}, **changes)
    assert ("This holds for" in answer(found)) == holds


SPECIAL = [
    ({"baseline_diverged": True}, "Nothing can be told: 0 of 10 runs of “none” diverged"),
    ({"unfinished": 3}, "Nothing is judged yet: 3 of 20 runs are missing, and the same `regulab run` goes on."),
    ({"unfinished": 1}, "1 of 20 runs is missing"),
    ({"protocol": "course"}, "The test split served as validation split too."),
    ({"margin": None}, "The study did not declare test accuracy as what decides, so this is explored, not confirmed."),
    ({"warnings": ("Underfitted: much.", "Few test images: x")},
     "Read the warnings first (Underfitted; Few test images). This study asks"),
    ({"epoch": "best_val"}, "the test accuracy at the epoch of the lowest validation loss of network"),
    ({"rule": "sequential"}, "10 random seeds (some of them added after verdicts had been seen) for 40 epochs each"),
    ({"rule": "sequential"}, "“l1” +0.10 points (median of 10 pairs), where neither a difference nor equivalence could "
     "be shown. More seeds may tell; `--until-decided` adds them."),
    ({"seeds": 0}, "No run is finished yet."),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "told"), SPECIAL, ids=[str(k) for k in range(len(SPECIAL))])
def test_what_else_is_told(changes, told):
    found = comparison_of({"l1": arm_of("undecided", 0.1)}, **changes)
    assert told in answer(found)
    assert [arm for one in sentences(found) for arm in one.arms] == ["l1"]


def test_what_the_networks_learned_from_is_told():
    found = comparison_of({"l1": arm_of("better", 0.3)})
    noisy = replace(found.question, training_images=1000, label_noise=0.2)
    assert "on data “mnist” (1,000 training images, 20 % of their labels wrong on purpose). Every" in answer(
        replace(found, question=noisy)
    )


SHARED = [
    ("undecided", "undecided", "cannot tell of “l1” and “l3”, so they do not confirm what was found of them."),
    ("worse", "worse", "finds “l1” and “l3” worse than “none”, so what was found of them may hold for these test "
     "images alone."),
    ("equivalent", "worse", "finds “l3” worse than “none” and finds “l1” equivalent to “none”, so what was found of "
     "them may hold for these test images alone."),
    ("better", "worse", "finds “l3” worse than “none”, so what was found of it may hold for these test images alone."),
    ("undecided", "better", "finds “l3” better than “none” and cannot tell of “l1”, so what was found of those that it "
     "finds otherwise may hold for these test images alone."),
]  # fmt: skip


@pytest.mark.parametrize(("l1", "l3", "told"), SHARED, ids=[f"{one}-{other}" for one, other, _ in SHARED])
def test_verdicts_that_validation_does_not_share_are_told(l1, l3, told):
    arms = {"l1": arm_of("better", 0.3), "l2": arm_of("undecided", 0.0), "l3": arm_of("equivalent", 0.0)}
    verdicts = {"l1": l1, "l2": "better", "l3": l3}
    on_validation = {
        arm: CheckedArm(mean=None, difference=None, difference_ci95=None, verdict=verdict)
        for arm, verdict in verdicts.items()
    }
    differing = tuple(arm for arm, verdict in verdicts.items() if verdict != arms[arm].verdict)
    check = ValidationCheck(
        metric="val_accuracy", images=5000, margin=0.1, arms=on_validation, differing=differing
    )
    assert f"On 5,000 validation images the same rule {told}" in answer(
        comparison_of(arms, validation_check=check)
    )
    assert "validation images" not in answer(
        comparison_of(arms, validation_check=replace(check, differing=()))
    )


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("best", "these strengths (of each arm the best of 16 trials on validation), this network"),
        (
            "one_standard_error",
            "these strengths (of each arm the strongest within one standard error of the best of 16 trials on "
            "validation, which leans to no difference), this network",
        ),
    ],
)
def test_how_strengths_were_chosen_is_told(rule, told):
    found = comparison_of({"l1": arm_of("better", 0.3)})
    tuned = replace(found.question, trials=16, tuning_rule=rule)
    assert f"This holds for {told}" in answer(replace(found, question=tuned))
    assert "This holds for these strengths, this network" in answer(found)


def test_a_strength_that_only_repeats_the_name_is_left_out():
    found = comparison_of({"L1": arm_of("better", 0.3)})
    question = replace(found.question, strengths={"none": "(no penalty)", "L1": "(l1)"})
    assert "whether “L1” changes" in answer(replace(found, question=question))


def test_one_seed_cannot_tell():
    one = replace(arm_of("undecided", 0.1, seeds=1), difference_ci95=None, seeds_needed=None)
    text = answer(comparison_of({"l1": one}, seeds=1))
    assert "with 1 random seed for 40 epochs and" in text
    assert (
        "One seed cannot tell: two runs of one arm differ as well, and one of each does not tell by how much. Seen was "
        "“l1” +0.10 points; more seeds would tell" in text
    )
    assert "Could not be told" not in text


def test_a_metric_without_a_better_direction_and_one_arm_alone():
    differing = replace(arm_of("better", 3.0), verdict=None)
    text = answer(comparison_of({"l1": differing}, metric="weight_norm_l2", margin=None))
    assert (
        "Found to differ from “none”: “l1” +3.0000 (95 % interval +2.9000 to +3.1000); weight norm l2 has no"
        in text
    )
    assert "better or worse" not in text
    assert answer(comparison_of({})) == (
        "Arm “none” (none λ=1) alone was trained (network “cnn10k”, data “mnist”): there is nothing to compare it with."
    )


def test_seeds_that_stand_apart_are_named():
    found = comparison_of({"l1": arm_of("undecided", 0.1)})
    question = replace(found.question, apart={"l1": (3, 7)})
    assert "Far from the rest, and to be looked at first: seeds 3, 7 of “l1”." in answer(
        replace(found, question=question)
    )


def test_names_that_are_long_or_odd_stay_one_readable_line():
    names = ["x" * 300, "a\nb\x1b[31m", "שלום", "<script>"]
    text = answer(comparison_of({name: arm_of("better", 0.3) for name in names}))
    assert "\n" not in text
    assert "\x1b" not in text
    assert "\u2068שלום\u2069" in text
    assert len(text) < 2000


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 9), st.floats(-3, 3), st.floats(-0.2, 0.2),
    st.sampled_from(["none", "diverged", "baseline diverged", "gone", "looked at"]),
)  # fmt: skip
def test_of_real_records_too(rng, seeds, effect, small, accident):
    arms = {"none": 0, "l1": effect, "l2": small, "l1+l2": effect + small}
    records = make_records(arms=arms, seeds=seeds, epochs=1, images=300, base=90, rng=rng)
    if accident == "diverged":
        records = with_diverged(records, "l1", 0)
    elif accident == "baseline diverged":
        records = with_diverged(records, "none", 0)
    elif accident == "gone":
        records = without(records, "l1", 0)
    elif accident == "looked at" and seeds > 1:
        records = replace(
            records, looks=tuple(Look(seeds=tuple(range(n)), arms={}) for n in (seeds - 1, seeds))
        )
    found = compare(records)
    said = sentences(found)
    assert sorted(arm for one in said for arm in one.arms) == ["l1", "l1+l2", "l2"]
    assert found.to_json()["answer"] == " ".join(one.lead + one.text for one in said)
    judged = {one.verdict for arm, one in found.arms.items() if arm != "none"} & {
        "better",
        "worse",
        "equivalent",
    }
    text = found.answer
    for verdict in ("better", "worse", "equivalent"):
        assert (LEADS[verdict] in text) == (verdict in judged)
    interaction = found.factorial.interactions[0].verdict
    assert ("than the sum of each alone (" in text) == (interaction in ("synergistic", "antagonistic"))
    assert ("is the sum of what each does alone" in text) == (interaction == "additive")
