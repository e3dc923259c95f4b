"""``factors`` in a study file: the arms that they make, and what is refused."""

import pytest

from regulab.api.study import Study as PythonStudy
from regulab.cli.arguments import assembled_study
from regulab.config import Study, build_study, load_study, parse_yaml
from regulab.errors import UserError
from regulab.techniques import arms_of
from regulab.techniques.dropout import Dropout
from regulab.techniques.l1 import L1
from regulab.techniques.norm import Normalization

GHOSTS = "{norm: [batch, {kind: ghost_batch, splits: 4}, {kind: ghost_batch, splits: 8}], l1: [0, 1e-4]}"


def study_of(text):
    return build_study(parse_yaml(text, "study.yaml"), "study.yaml")


@pytest.mark.parametrize(
    ("factors", "arms"),
    [
        pytest.param(
            "{l1: [0, 1e-4], dropout: [0, 0.2]}", ["none", "l1", "dropout", "l1+dropout"], id="two-techniques"
        ),
        pytest.param("{l1: [0, 1e-4, 0.2]}", ["none", "l1=1e-4", "l1=0.2"], id="several-strengths"),
        pytest.param("{l1: [1e-4, 0, null-]}", None, id="not-a-number"),
        pytest.param(
            "{norm: [none, batch], l1: [false, 1]}", ["none", "batch", "l1", "batch+l1"], id="no-norm"
        ),
        pytest.param(
            GHOSTS,
            [
                "batch",
                "ghost_batch splits=4",
                "ghost_batch splits=8",
                "batch+l1",
                "ghost_batch splits=4+l1",
                "ghost_batch splits=8+l1",
            ],
            id="mappings-of-one-kind",
        ),
        pytest.param(
            "{penalty: {none: {}, l1: {l1: 1}}, stop: {never: null, early: {early_stopping: 5}}}",
            ["none", "l1", "early", "l1+early"],
            id="named-levels",
        ),
        pytest.param(
            "{a: {l1: {l1: 1}, l1+l2: {l1: 1, sam: 0.1}}, b: {none: {}, l2: {l2: 1}}}",
            ["a=l1+b=none", "a=l1+l2+b=none", "a=l1+b=l2", "a=l1+l2+b=l2"],
            id="names-that-would-be-equal",
        ),
        pytest.param(
            "{a: {x: {l1: 1}, y: {l1: 2}}, b: {x: {l2: 1}, y: {l2: 2}}}",
            ["a=x+b=x", "a=y+b=x", "a=x+b=y", "a=y+b=y"],
            id="levels-of-one-name",
        ),
        pytest.param(
            "{l1: [0, 1e-4], distillation: [0, none]}",
            ["none", "l1", "distillation", "l1+distillation"],
            id="a-teacher-called-none",
        ),
        pytest.param(
            "{norm: [none, {kind: ghost_batch, splits: 4}], weight_standardization: [0, all]}",
            ["none", "ghost_batch", "weight_standardization", "ghost_batch+weight_standardization"],
            id="texts",
        ),
    ],
)
def test_every_combination_is_an_arm_with_a_readable_name(factors, arms):
    if arms is None:
        with pytest.raises(UserError, match="neither a number nor a mapping"):
            arms_of(study_of(f"factors: {factors}"))
        return
    study = study_of(f"factors: {factors}")
    assert (list(study.arms), study.baseline) == (arms, arms[0])
    assert len(arms_of(study)) == len(arms)


def test_zero_is_the_absence_of_a_technique_but_of_dropout_which_the_study_may_have():
    study = study_of("{model: {dropout: 0.05}, factors: {l1: [0, 1e-4], dropout: [0, 0.2]}}")
    assert study.arms == {
        "none": {"dropout": 0},
        "l1": {"l1": 1e-4, "dropout": 0},
        "dropout": {"dropout": 0.2},
        "l1+dropout": {"l1": 1e-4, "dropout": 0.2},
    }
    rates = [next(t.rate for t in arm if isinstance(t, Dropout)) for arm in arms_of(study).values()]
    assert rates == [0, 0, 0.2, 0.2]


def test_the_resolved_file_has_both_and_reads_back():
    study = study_of(f"factors: {GHOSTS}")
    again = study_of(study.to_yaml())
    assert again == study
    assert again.identity() == study.identity()
    assert list(again.factors["norm"]) == ["batch", "ghost_batch splits=4", "ghost_batch splits=8"]


def test_a_study_without_factors_is_the_one_that_it_was():
    study = Study()
    assert "factors" not in study.identity_content()
    assert "factors" not in study.to_yaml()
    # As the version before factors hashed it.
    assert study.identity() == "69c8a98a07d7bff1301ad412a2cd874499f1d8ed0984601911824ec6b0251d27"


def test_a_baseline_of_ones_own():
    assert study_of("{factors: {l1: [0, 1]}, baseline: l1}").baseline == "l1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("factors: l1", "factors: not a mapping of factors", id="text"),
        pytest.param("factors: {}", "factors: no factor", id="none"),
        pytest.param("factors: {l1: 1e-4}", r"write `l1: \[0, 1e-4\]`", id="bare-strength"),
        pytest.param("factors: {norm: batch}", "factors.norm: neither a list of values", id="bare-name"),
        pytest.param(
            "factors: {l1: [0]}", "factors.l1: a factor of one level compares nothing", id="one-level"
        ),
        pytest.param(
            "factors: {l1: [0, null, 1]}", "factors.l1: a level stands there twice", id="zero-twice"
        ),
        pytest.param("factors: {l1: [1e-4, 0.0001]}", "a level stands there twice", id="equal-strengths"),
        pytest.param("factors: {p: {a: {l1: 1}, b: {l1: 1.0}}}", "the same: a and b", id="equal-levels"),
        pytest.param(
            "factors: {l3: [0, 1]}", "factors.l3: a list has the values of a technique", id="unknown"
        ),
        pytest.param(
            "factors: {p: {a: 1, b: {}}}", "factors.p.a: not a mapping of techniques", id="bare-level"
        ),
        pytest.param("factors: {p: {'': {}, a: {l1: 1}}}", "empty", id="nameless-level"),
        pytest.param("factors: {norm: [0, batch]}", "says not which norm", id="norm-zero"),
        pytest.param(
            "factors: {p: {a: {l1: 1}, b: {}}, l1: [0, 1]}",
            "p and l1 both set l1",
            id="technique-in-two-factors",
        ),
        pytest.param("{factors: {l1: [0, 1]}, arms: {none: {}}}", "arms are written too", id="both"),
        pytest.param("{factors: {l1: [0, 1]}, baseline: l2}", "baseline 'l2' is not an arm", id="baseline"),
        pytest.param(
            f"factors: {{l1: {list(range(11))}, l2: {list(range(10))}, dropout: {[n / 10 for n in range(10)]}}}",
            r"a factorial of 1,100 arms \(11 × 10 × 10\)",
            id="too-many",
        ),
    ],
)
def test_what_makes_no_factorial_is_refused_by_name(text, said):
    with pytest.raises(UserError, match=said):
        study_of(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "factors: {l1: [0, x]}", "factors.l1: neither a number nor a mapping", id="text-for-number"
        ),
        pytest.param("factors: {dropout: [0, 2]}", "factors.dropout.rate: out of range", id="range"),
        pytest.param(
            "factors: {p: {a: {l9: 1}, b: {}}}", "factors.p.a.l9: unknown technique", id="in-a-level"
        ),
        pytest.param(
            "factors: {norm: [batch, {kind: batch}]}", "two levels are the same", id="in-other-words"
        ),
    ],
)
def test_levels_that_are_no_techniques_are_refused_where_they_stand(text, said):
    with pytest.raises(UserError, match=said):
        arms_of(study_of(text))


def test_a_combination_that_contradicts_itself_is_named(monkeypatch):
    monkeypatch.setattr(L1, "excludes", {"ema": "for the sake of this test"})
    with pytest.raises(
        UserError, match=r"factors, arm l1=0.1\+ema: l1 and ema contradict each other: for the"
    ):
        arms_of(study_of("factors: {l1: [0, 0.1, 0.2], ema: {none: {}, ema: {ema: 0.9}}}"))


def test_the_command_line_takes_precedence_over_the_file():
    study = assembled_study(["l1-l2", "factors={l1: [0, 1e-4], dropout: [0, 0.2]}"])
    assert list(study.arms) == ["none", "l1", "dropout", "l1+dropout"]
    plain = assembled_study(["bn-gbn", "arms={none: {}, l1: {l1: 1e-4}}"])
    assert (plain.factors, list(plain.arms)) == (None, ["none", "l1"])
    changed = assembled_study(["bn-gbn", "factors.norm=[batch, none]"])
    assert list(changed.arms)[:3] == ["batch", "none", "batch+l1"]
    with pytest.raises(UserError, match="the arms are made by factors"):
        assembled_study(["bn-gbn", "arms.l1.l1=3e-4"])


def test_some_of_the_arms_are_plain_arms():
    study = assembled_study(["bn-gbn"], arms="bn,bn+l1")
    assert (study.factors, list(study.arms), study.baseline) == (None, ["bn", "bn+l1"], "bn")
    with pytest.raises(UserError, match="unknown arm"):
        assembled_study(["bn-gbn"], arms="bn,l1")


def test_adamw_is_told_of_decay_that_is_a_factor(recwarn):
    assembled_study(["train.optimizer={name: adamw}", "factors.weight_decay=[0, 0.01]"])
    assert not [str(one.message) for one in recwarn if "adamw decays nothing" in str(one.message)]


def test_the_built_in_study_is_the_assignments_arms_under_each_norm():
    study = load_study("bn-gbn")
    assert list(study.arms) == ["bn", "gbn", "bn+l1", "gbn+l1", "bn+l2", "gbn+l2", "bn+l1+l2", "gbn+l1+l2"]
    assert study.arms["gbn+l1+l2"] == {"norm": {"kind": "ghost_batch", "splits": 4}, "l1": 1e-4, "l2": 1e-4}
    assert study.train == load_study("l1-l2").train


def test_in_python_levels_may_be_techniques():
    study = PythonStudy(
        factors={"l1": (0, L1(strength=1e-4)), "norm": ["batch", Normalization(kind="layer")]}
    )
    assert list(study.arms) == ["batch", "l1+batch", "layer", "l1+layer"]
    named = PythonStudy(factors={"penalty": {"none": None, "l1": L1(strength=1e-4)}, "dropout": [0, 0.2]})
    assert list(named.arms) == ["none", "l1", "dropout", "l1+dropout"]
    with pytest.raises(UserError, match="a technique of another name"):
        PythonStudy(factors={"l2": [0, L1(strength=1e-4)]})
