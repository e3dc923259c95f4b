"""Refusals speak the study file's language: the place, the value as written, what is meant there, what to write."""

from __future__ import annotations

import pytest

from regulab.config import build_study, load_study, parse_study
from regulab.errors import UserError, did_you_mean, printable, shown, unseen_characters
from regulab.techniques import arms_of


def refusal(text: str) -> str:
    with pytest.raises(UserError) as refused:
        load(text)
    return str(refused.value)


def load(text: str) -> None:
    content, source = parse_study(text, "s.yaml")
    study = build_study(content, source)
    with source.locating():
        arms_of(study)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seed: 42", ["s.yaml, line 1: seed: unknown key; got 42", "write `seeds: [42]`", "`seeds: 42`"]),
        ("arms:\n  none: {}\n  l2: 5e-4", ["s.yaml, line 3: arms.l2: not a mapping", "write `{l2: 5e-4}`"]),
        ("arms:\n  none: {}\n  weak: 5e-4", ["arms.weak", "write `{l2: 5e-4}`"]),
        ("arms:\n  none: {}\n  dropout: 0.3", ["write `{dropout: 0.3}`"]),
        ("arms: [none, l1]", ["s.yaml, line 1: arms: not a mapping"]),
        ("epochs: 5", ["epochs: unknown key; got 5", "did you mean train.epochs?"]),
        ("lr: 0.1", ["did you mean train.optimizer.lr?"]),
        ("train: {epoch: 5}", ["train.epoch: unknown key", "did you mean epochs?"]),
        ("train: {optimiser: adam}", ["did you mean optimizer?"]),
        (
            "train: {optimizer: adm}",
            ["train.optimizer.name: unknown optimizer; got 'adm'", "did you mean adam?"],
        ),
        (
            "train: {optimizer: {name: 5}}",
            ["unknown optimizer; got 5; expected 'adam', 'adamw', 'lion', 'muon', 'sgd'"],
        ),
        ("train: {schedule: one-cycle}", ["unknown schedule; got 'one-cycle'", "did you mean one_cycle?"]),
        ("train: {optimizer: {weight_decay: 5e-4}}", ["write an arm such as `decay: {weight_decay: 5e-4}`"]),
        ("train: {precision: bf-16}", ["unknown value; got 'bf-16'", "did you mean bf16?"]),
        ("protocol: hold-out", ["protocol.kind: unknown value", "did you mean holdout?"]),
        (
            "train: {epochs: many}",
            ["train.epochs: not a whole number; got 'many'; expected whole number ≥ 1"],
        ),
        ("train: {optimizer: {lr: -1}}", ["train.optimizer.lr: out of range; got -1; expected number > 0"]),
        ("train: {optimizer: {name: adam, betas: [0.9]}}", ["betas.1: missing"]),
        ("train: 5", ["train: not a mapping of keys; got 5"]),
        ("seeds: '0,3'", ["a list such as [0, 3, 7]; got '0,3'"]),
        ("seeds: [0, x]", ["seeds.1: not a whole number; got 'x'"]),
        ("seeds: [0, -1]", ["seeds.1: out of range; got -1"]),
        ("baseline: nones", ["baseline: baseline 'nones' is not an arm", "did you mean none?"]),
        ("arms: {none: {}, a: {l3: 1}}", ["s.yaml, line 1: arms.a.l3: unknown technique; got 'l3'"]),
        (
            "arms:\n  none: {}\n  a:\n    droput: 0.1",
            ["s.yaml, line 4: arms.a.droput: unknown technique", "did you mean dropout?"],
        ),
        ("arms:\n  none: {}\n  a:\n    l1: -1", ["s.yaml, line 4: arms.a.l1", "out of range; got -1"]),
        ("arms: {none: {}, a: {l1: yes}}", ["arms.a.l1: neither a number nor a mapping", "`{l1: 1e-4}`"]),
        ("arms: {none: {}, a: {l1: '1e-4'}}", ["arms.a.l1: neither a number nor a mapping; got '1e-4'"]),
        ("arms: {none: {}, a: {l1: [1]}}", ["arms.a.l1: neither a number nor a mapping; got [1]"]),
        ("arms: {none: {}, a: {l1: {}}}", ["arms.a.l1.strength: missing; expected number ≥ 0"]),
        ("arms: {none: {}, a: {l1: {strength: yes}}}", ["arms.a.l1.strength: neither a number nor a name"]),
        (
            "arms: {none: {}, a: {l1: {strenght: 1}}}",
            ["arms.a.l1.strenght: unknown key", "did you mean strength?"],
        ),
        (
            "arms: {none: {}, a: {l1: {strength: 1, method: proxy}}}",
            ["method: unknown value", "did you mean prox?"],
        ),
        (
            "arms: {none: {}, a: {norm: bach}}",
            ["arms.a.norm.kind: unknown norm; got 'bach'", "did you mean batch?"],
        ),
        ("arms: {none: {}, a: {early_stopping: 0}}", ["arms.a.early_stopping", "out of range; got 0"]),
        ("arms: {none: {}, a: {early_stopping: yes}}", ["write `{early_stopping: 5}`"]),
        ("arms: {none: {}, a.b: {l1: -1}}", ["arms.a.b.l1"]),
        ("data: {augment: {rotat: 7}}", ["data.augment.rotat: unknown key", "did you mean rotate?"]),
        (
            "data:\n  augment:\n    rotate: 200",
            ["s.yaml, line 3: data.augment.rotate: out of range; got 200"],
        ),
    ],
)
def test_what_to_write(text, parts):
    message = refusal(text)
    assert message.startswith("s.yaml")
    for part in parts:
        assert part in message


def test_the_words_of_the_validator_are_not_heard():
    for text in (
        "train: 5",
        "arms: 5",
        "arms: {none: 5}",
        "seeds: {}",
        "name: [1]",
        "train: {optimizer: [sgd]}",
    ):
        assert "Input should" not in refusal(text)
        assert "dictionary" not in refusal(text)


def test_seeds_42_are_42_seeds():
    assert build_study({"seeds": 42}).seeds == tuple(range(42))
    assert build_study({"seeds": [42]}).seeds == (42,)


def test_an_override_is_named_as_such():
    with pytest.raises(UserError, match=r"^override train\.epoch: unknown key; got 1.*did you mean epochs"):
        load_study("l1-l2", "train.epoch=1")
    with pytest.raises(UserError, match=r"^override train: train\.epochs: out of range; got 0"):
        load_study("l1-l2", "train={epochs: 0}")


def test_an_arm_called_as_an_optimizer_keeps_its_name_in_the_message():
    assert "arms.step.l1" in refusal("arms: {none: {}, step: {l1: .nan}}")
    assert "arms.adam: not a mapping" in refusal("arms: {none: {}, adam: 3}")


class TestMessages:
    def test_long_values_are_cut(self):
        error = UserError("bad", got="x" * 10_000, where="f" * 5000, expected="e" * 5000, cure="c" * 5000)
        assert len(str(error)) < 4500
        assert "(10000 characters)" in str(error)
        assert error.got == "x" * 10_000

    @pytest.mark.parametrize(
        ("got", "text"),
        [
            ("a\x1b[2Jb", r"'a\x1b[2Jb'"),
            ("a\u202eb", r"'a\u202eb'"),
            (5, "5"),
            (10**5000, "an integer of about 5001 digits"),
            ([1, 1], "[1, 1]"),
            (list(range(100)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...]"),
            (True, "True"),
            (1.5, "1.5"),
        ],
        ids=range(8),
    )
    def test_values(self, got, text):
        assert shown(got) == text
        assert str(UserError("bad", got=got)) == f"bad; got {text}"

    def test_what_holds_itself_or_much_is_shown_in_part(self):
        held: list = []
        held.append(held)
        laughing: list = [1] * 10
        for _ in range(12):
            laughing = [laughing] * 10
        for got in (held, laughing, {"a": laughing}, ("x" * 1000,) * 50):
            assert len(shown(got)) < 300

    def test_every_part_is_one_line_without_control_characters(self):
        nasty = "a\x1b]0;title\x07\r\nb\u202ec\x00\u2028d"
        message = str(UserError(nasty, got=nasty, where=nasty, expected=nasty, cure=nasty))
        assert message.isprintable()
        assert "\\x1b" in message

    def test_joiners_are_letters_to_some_and_stay(self):
        persian = "می‌خواهم"
        assert printable(persian) == persian
        assert unseen_characters(persian) == ""

    def test_the_nearest(self):
        assert did_you_mean("epocs", ["epochs", "seeds"]) == "did you mean epochs?"
        assert did_you_mean("EPOCHS", ["epochs"]) == "did you mean epochs?"
        assert (
            did_you_mean("zzz", ["epochs"])
            == did_you_mean(5, ["epochs"])
            == did_you_mean("x" * 10**6, ["x"])
            == ""
        )
