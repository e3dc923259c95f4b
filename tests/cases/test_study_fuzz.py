"""Thousands of made study files and overrides: a study, or one `UserError` that names the file or the override."""

from __future__ import annotations

import random
import warnings

import pytest

from regulab.config import Study, build_study, override, parse_study
from regulab.config.effects import settle
from regulab.errors import UserError, unseen_characters
from regulab.techniques import arms_of

WHOLE = """name: made
key: made
data: {name: digits, train_images: 100, normalize: pixel, augment: {rotate: 7, flip: yes}}
protocol: {kind: holdout, validation: 0.2}
model: {name: cnn10k, norm: batch, norm_position: after, dropout: 0.1}
train:
  epochs: 5
  batch_size: 16
  optimizer: {name: adam, lr: 1e-3, betas: [0.9, 0.99], eps: 1e-8}
  schedule: {name: cosine, final_lr: 0.0, warmup: 1}
endpoint: {metric: test_accuracy, epoch: final, margin: 0.3}
seeds: [0, 3, 7]
pairing: seeds
baseline: none
arms:
  none: {}
  a: &a {l1: {strength: 1e-4, method: prox, include: all}, dropout: 0}
  b: {<<: *a, l2: 5e-4, early_stopping: {patience: 3, min_delta: 0.1}}
  c: {norm: {kind: none}, weight_decay: 0.1, augmentation: {scale: 0.1}}
"""
VALUES = (
    "", "~", "yes", "no", "off", "0", "-1", "1", "2.5", "5", "007", "010", "0x_", "0x1F", "1e3", "1e-999",
    "1e999", "-1e400", ".inf", "-.inf", ".nan", "1_0", "1:30", "2024-01-01", "2024-13-45",
    "10000000000000000000000", "9" * 90, "9" * 4400, "!!int abc", "!!float x", "!!bool maybe", "!!null x",
    "!!timestamp 1", "!!set {a}", "!!binary a=", "!!python/object:os.system {}", "!x y", "{}", "[]", "[[]]",
    "{a: 1}", "[1, 2]", "[[[[[[1]]]]]]", "{<<: *a}", "{<<: 1}", "*a", "*nobody", "&z [*z]", "&z {z: *z}", "'",
    '"', '"\\x1b[2J"', '"\\ud800"', '"\\UFFFFFFFF"', "a\u202eb", "\x07", "\x00", "\udc80", "\u2028", "λ", "🦉",
    "none", "holdout", "course", "sgd", "adam", "step", "one_cycle", "prox", "best_val", "test_loss",
    "nets.py:Net", "folder:x", "folder:", "../..", "a" * 300, "? a", "- a", ": :", "#", "%YAML 9", "---",
    "...", "@", "`", "|", ">", "{", "}", "[", "]", ",", "\t", "<<", "=", "[" * 60, "{a: " * 60, "null", "'5'",
    "'1e-4'",
)  # fmt: skip
SENSIBLE = (
    "3",
    "0.2",
    "1e-3",
    "7",
    "0",
    "{}",
    "adam",
    "cosine",
    "[4, 5]",
    "mine",
    "{l1: 1e-3}",
    "{strength: 0.1}",
)
KEYS = (
    "name", "key", "data", "data.name", "data.augment", "data.augment.rotate", "protocol", "protocol.kind",
    "protocol.validation", "model", "model.name", "model.norm", "model.depth", "model.dropout", "train",
    "train.epochs", "train.batch_size", "train.optimizer", "train.optimizer.name", "train.optimizer.lr",
    "train.optimizer.betas", "train.schedule", "train.schedule.name", "train.schedule.max_lr",
    "train.schedule.every", "train.precision", "endpoint", "endpoint.metric", "endpoint.margin", "seeds",
    "seed", "pairing", "baseline", "arms", "arms.none", "arms.a", "arms.a.l1", "arms.a.l1.strength",
    "arms.a.l9", "arms.new.l2", "arms.b.early_stopping", "arms.c.norm", "resolved", "x", "a.b.c.d", "", ".",
    "train.", "\u202e", "λ", "<<", "x-y", "arms.a.l1.l1.l1", "seeds.0", "name.x",
)  # fmt: skip


def accepted(text: str, overrides: list[str]) -> Study | None:
    """The study, or None where it was refused as it should be."""
    try:
        content, source = parse_study(text, "made.yaml")
        for assignment in overrides:
            override(content, assignment, source)
        study = build_study(settle(content, source), source)
        with source.locating():
            arms_of(study)
    except UserError as refused:
        message = str(refused)
        assert not unseen_characters(message)
        assert len(message) < 3500
        assert message.startswith(("made.yaml", "override ", "not an override"))
        if not message.startswith("made.yaml: "):  # whatever stands in the file has a line
            assert message.startswith(("made.yaml, line ", "override ", "not an override"))
        return None
    return study


def holds(study: Study) -> None:
    """What was accepted survives its own file."""
    again = build_study(*parse_study(study.to_yaml(), "again"))
    assert again == study
    assert again.identity() == study.identity()


def made_text(draw: random.Random) -> str:
    """A file with lines, values or single characters changed."""
    lines = WHOLE.splitlines()
    kind = draw.random()
    if kind < 0.2:
        lines = draw.sample(lines, draw.randint(1, 6))
        lines = [
            f"{line.split(':')[0]}: {draw.choice(VALUES)}" if draw.random() < 0.4 else line for line in lines
        ]
    elif kind < 0.7:
        for _ in range(draw.randint(1, 2)):
            place = draw.randrange(len(lines))
            start, separator, rest = lines[place].partition(": ")
            inner = rest.split(", ")
            if len(inner) > 1 and draw.random() < 0.7:
                at = draw.randrange(len(inner))
                inner[at] = f"{inner[at].partition(': ')[0]}: {draw.choice(VALUES)}"
                lines[place] = f"{start}: {', '.join(inner)}" + ("}" if at == len(inner) - 1 else "")
            else:
                lines[place] = f"{start}{separator or ': '}{draw.choice(VALUES)}"
    else:
        text = list(WHOLE)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(text))
            text[place] = draw.choice(
                ("", text[place] * 2, draw.choice(VALUES), chr(draw.randrange(1, 0x3000)))
            )
        return "".join(text)
    return "\n".join(lines) + "\n"


def value(draw: random.Random) -> str:
    return draw.choice(VALUES if draw.random() < 0.6 else SENSIBLE)


def attack(count: int, seed: int) -> tuple[int, int]:
    draw, taken = random.Random(seed), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(count):
            if draw.random() < 0.5:
                study = accepted(made_text(draw), [])
            else:
                keys = [draw.choice(KEYS) for _ in range(draw.randint(1, 2))]
                short = "name: made\narms: {none: {}, a: {l1: 1e-4}, b: {}, c: {}}\n"
                study = accepted(short, [f"{key}={value(draw)}" for key in keys])
            if study is not None:
                taken += 1
                holds(study)
    return taken, count - taken


def test_the_file_that_the_attack_starts_from_is_taken():
    study = accepted(WHOLE, [])
    assert study is not None
    holds(study)


def test_made_files_and_overrides_are_a_study_or_a_refusal():
    taken, refused = attack(250, seed=1)
    assert taken > 5, "an attack that is always refused reaches little"
    assert refused > 100


@pytest.mark.slow
def test_twelve_thousand_more():
    taken, refused = attack(12_000, seed=2)
    assert taken > 200
    assert refused > 5000


@pytest.mark.parametrize("key", KEYS)
def test_every_key_by_every_value_a_file_may_hold_is_answered(key):
    """A part that is not what it should be must not hide another: keys on their own, in a file that holds no more."""
    draw = random.Random(key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for value in draw.sample(VALUES, 4):
            if key and "." not in key:
                accepted(f"{key}: {value}\n", [])
            accepted("train: 5\narms: 5\ndata: []\nmodel: 1\nendpoint: x\nprotocol: {}\n", [f"{key}={value}"])
