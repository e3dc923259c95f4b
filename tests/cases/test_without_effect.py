"""What a study file says and would not do: refused with the cure, or told where the command line asks for it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from regulab.cli.arguments import assembled_study
from regulab.config import build_study, load_study
from regulab.errors import UserError
from regulab.techniques import arms_of, model_of
from regulab.techniques.dropout import Dropout
from regulab.techniques.norm import Normalization


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "s.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "protocol: {kind: course, validation: 100}",
            "line 1: protocol.validation: has no effect under protocol course",
        ),
        (
            "train:\n  epochs: 5\n  schedule: {name: step, every: 5}",
            "line 3: train.schedule.every: has no effect",
        ),
        (
            "train: {epochs: 5, schedule: step}",
            "train.schedule.every: has no effect: the rate never changes within 5",
        ),
        ("train: {epochs: 3, schedule: {name: cosine, warmup: 3}}", "train.schedule.warmup: has no effect"),
        ("train: {optimizer: {momentum: 0, nesterov: yes}}", "nesterov needs a momentum above 0"),
        ("train: {schedule: {name: constant, max_lr: 0.1}}", "max_lr belongs to name: one_cycle"),
        ("train: {optimizer: {name: adam, momentum: 0.9}}", "momentum belongs to name: sgd"),
        ("endpoint: {margin: 100}", "endpoint.margin: every accuracy lies within it"),
        ("endpoint: {metric: test_loss}", "needs a margin of its own"),
        ("protocol: course\nendpoint: {epoch: best_val}", "would choose the epoch on the test split"),
    ],
)
def test_a_file_is_refused(file, text, message):
    with pytest.raises(UserError) as refused:
        load_study(file(text))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "train: {epochs: 5, schedule: {name: step, every: 4}}",
        "train: {epochs: 3, schedule: {name: cosine, warmup: 2.5}}",
        "protocol: {kind: course, validation: null}",
        "endpoint: {metric: test_loss, margin: 200}",
        "model: {dropout: 0}\narms: {none: {dropout: 0.1}}",
    ],
)
def test_what_has_an_effect_is_taken_without_a_word(file, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_study(file(text))


def test_a_quick_look_at_fewer_epochs_is_told_and_taken(file):
    path = file("train: {epochs: 20, schedule: {name: step, every: 8}}")
    with pytest.warns(
        UserWarning, match=r"s\.yaml, line 1: train\.schedule\.every: the rate never changes within 2"
    ):
        assert assembled_study([path], epochs=2).train.epochs == 2
    with pytest.raises(UserError, match=r"override train\.schedule\.every: has no effect"):
        load_study(path, "train.schedule.every=30")


def test_another_protocol_on_the_command_line_drops_the_validation_of_the_file(file):
    path = file("protocol: {kind: holdout, validation: 100}")
    assert assembled_study([path], protocol="course").protocol.validation is None
    assert load_study(path, "protocol.kind=course").protocol.kind == "course"
    assert load_study(path, "protocol.kind=holdout").protocol.validation == 100
    assert load_study(path).protocol.validation == 100
    with pytest.raises(UserError, match=r"override protocol\.validation: has no effect"):
        load_study(file("protocol: course"), "protocol.validation=100")


def test_a_margin_belongs_to_its_metric(file):
    path = file("endpoint: {metric: test_accuracy, margin: 0.5}")
    with pytest.raises(
        UserError, match=r"override endpoint\.metric: the metric test_loss needs a margin of its own"
    ):
        load_study(path, "endpoint.metric=test_loss")
    assert load_study(path, "endpoint.metric=test_loss", "endpoint.margin=0.02").endpoint.margin == 0.02
    assert load_study(path, "endpoint.metric=test_accuracy").endpoint.margin == 0.5
    assert load_study(path, "endpoint.epoch=best_val").endpoint.margin == 0.5


def test_the_dropout_of_one_network_is_not_that_of_another(file):
    path = file("model: {name: cnn10k, dropout: 0.2}")
    with pytest.warns(UserWarning, match=r"model\.dropout 0\.2 is left out"):
        assert load_study(path, "model.name=nets.py:Net").model.dropout is None
    assert load_study(path, "model.name=nets.py:Net", "model.dropout=0.3").model.dropout == 0.3
    assert load_study(path, "model.name=deep").model.dropout == 0.2
    assert load_study(path, "model=nets.py:Net").model.dropout is None


def test_adamw_without_decay_is_told_of(file):
    with pytest.warns(UserWarning, match="adamw decays nothing here"):
        load_study(file("train: {optimizer: {name: adamw, lr: 0.001}}\narms: {none: {}, l2: {l2: 1e-4}}"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_study(
            file(
                "train: {optimizer: {name: adamw, lr: 0.001}}\narms: {none: {}, decay: {weight_decay: 0.01}}"
            )
        )


def test_dropout_0_of_an_arm_is_a_rate_of_0():
    study = build_study({"arms": {"none": {}, "off": {"dropout": 0}, "on": {"dropout": 0.0}}})
    arms = arms_of(study)
    assert arms["none"] == (Dropout(rate=0.05),)
    assert arms["off"] == arms["on"] == (Dropout(rate=0.0),)


def test_an_arms_norm_stands_where_the_models_does_unless_it_says_otherwise():
    arms = {
        "none": {},
        "noisy": {"norm": "noisy_batch"},
        "before": {"norm": {"kind": "noisy_batch", "position": "before"}},
    }
    study = build_study({"model": {"norm_position": "after"}, "arms": arms})
    models = {arm: model_of(study, techniques) for arm, techniques in arms_of(study).items()}
    assert [models[arm].norm_position for arm in arms] == ["after", "after", "before"]
    assert Normalization(kind="batch").position is None


def test_no_norm_has_no_position():
    study = build_study({"arms": {"none": {}, "bare": {"norm": {"kind": "none", "position": "after"}}}})
    with pytest.raises(UserError, match=r"arms\.bare\.norm\.position: has no effect where there is no norm"):
        arms_of(study)


@pytest.mark.parametrize("epochs", [".nan", ".inf", "-.inf", "2.5", "many", "true", "null", "[3]"])
@pytest.mark.parametrize("schedule", ["step", "cosine", "multi_step", "reduce_on_plateau"])
def test_what_is_no_number_of_epochs_is_refused_as_such(epochs, schedule, file):
    with pytest.raises(UserError, match=r"train\.epochs"):
        assembled_study([file(f"train: {{epochs: {epochs}, schedule: {schedule}}}")])
