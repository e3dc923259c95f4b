"""YAML as YAML is: what a study file may hold, what its texts stand for, and what is refused, at which line."""

from __future__ import annotations

import time

import pytest
import yaml

from regulab.cli.arguments import assembled_study
from regulab.config import Study, build_study, load_study, override, parse_study, parse_yaml
from regulab.errors import UserError


def refusal(text: str) -> str:
    with pytest.raises(UserError) as refused:
        build_study(*parse_study(text, "made.yaml"))
    assert len(str(refused.value)) < 1500
    assert str(refused.value).isprintable()
    return str(refused.value)


class TestMerging:
    def test_merge_keys_and_anchors(self):
        text = """
x-training: &training {epochs: 7, batch_size: 16}
train: {<<: *training, epochs: 9}
arms:
  none: {}
  l1: &l1 {l1: 1e-4}
  both: {<<: *l1, l2: 5e-4}
  again: *l1
"""
        study = build_study(*parse_study(text, "f"))
        assert (study.train.epochs, study.train.batch_size) == (9, 16)
        assert study.arms == {
            "none": {},
            "l1": {"l1": 1e-4},
            "both": {"l1": 1e-4, "l2": 5e-4},
            "again": {"l1": 1e-4},
        }

    def test_the_first_of_several_gives_a_key_and_the_mapping_itself_before_them(self):
        text = "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b], y: 3}\nd: {y: 3, <<: *a}\n"
        assert parse_yaml(text, "f")["c"] == {"x": 1, "z": 2, "y": 3}
        assert parse_yaml(text, "f")["d"] == {"x": 1, "y": 3}
        assert parse_yaml(text, "f") == yaml.safe_load(text)

    def test_merges_of_merges(self):
        text = "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, z: 3}\n"
        assert parse_yaml(text, "f")["c"] == {"x": 1, "y": 2, "z": 3}

    def test_in_an_override(self):
        content: dict = {}
        override(content, "arms={none: &n {dropout: 0.1}, l1: {<<: *n, l1: 1}}")
        assert content["arms"]["l1"] == {"dropout": 0.1, "l1": 1}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: {<<: 3}", "<< merges mappings"),
            ("x: &x {a: 1}\na: {<<: *x, <<: *x}", "line 2: not valid YAML: '<<' is given twice"),
            ("a: &a {<<: *a}", "a value that holds itself"),
            ("a: &a {b: *a}", "a value that holds itself"),
            ("a: &a [*a]", "a value that holds itself"),
            ("a: *b", "found undefined alias"),
        ],
    )
    def test_what_cannot_be_merged(self, text, message):
        assert message in refusal(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 5e-4),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("0b101", 5),
        ("-0x10", -16),
        ("+3", 3),
        ("007", 7),
        ("0", 0),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("2024-01-01", "2024-01-01"),
        ("2024-13-45", "2024-13-45"),
        ("1:30", "1:30"),
        ("0x_", "0x_"),
        ("1e", "1e"),
        ("=", "="),
        ('"5"', "5"),
        ("'yes'", "yes"),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
        ("!!float 5", 5.0),
        ("[1, two]", [1, "two"]),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_what_a_text_stands_for(text, value):
    found = parse_yaml(f"x: {text}", "f")["x"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_texts_as_they_are_written():
    study = build_study(
        *parse_study("arms: {none: {}, no: {}, 1: {}, 1e-4: {l1: 1e-4}, 2024-01-01: {}}", "f")
    )
    assert list(study.arms) == ["none", "no", "1", "1e-4", "2024-01-01"]
    assert build_study(*parse_study(study.to_yaml(), "f")) == study


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train:\n  epochs: 3\n  batch_size: 0\n",
            "made.yaml, line 3: train.batch_size: out of range; got 0",
        ),
        ("arms:\n  none: {}\n  l1:\n    l1: .inf\n", "made.yaml, line 4: arms.l1.l1: not a finite number"),
        ("arms:\n  none: {}\n  l1: {l1: 1e999}\n", "made.yaml, line 3: arms.l1.l1: not a finite number"),
        ("name: x\nseeds: !!int abc\n", "made.yaml, line 2: not valid YAML: 'abc' is no whole number"),
        ("seeds: !!bool maybe\n", "'maybe' is no switch"),
        ("name: !!timestamp 2024-13-45\n", "made.yaml, line 1: not valid YAML: the tag !!timestamp"),
        ("arms: !!set {none, l1}\n", "the tag !!set, which study files do not know"),
        ("arms: !mine {}\n", "the tag !mine, which study files do not know"),
        ("name: !!binary aGk=\n", "the tag !!binary"),
        ("name: !!python/name:os.system x\n", "the tag !!python/name:os.system"),
        (f"seeds: [{'1' * 4301}]\n", "made.yaml, line 1: too large: an integer of 4301 digits"),
        ("seeds: [0, 9223372036854775808]\n", "too large: an integer beyond"),
        ("train: {epochs: 010}\n", "not clear: 010 begins with 0"),
        ("arms: {none: {}, l1: {l1: 1e-999}}\n", "too small: 1e-999"),
        ("train: {epochs: 0x_}\n", "train.epochs: not a whole number; got '0x_'"),
        ("train: {epochs: 1:30}\n", "train.epochs: not a whole number; got '1:30'"),
        ("train: {epochs: yes}\n", "train.epochs: neither a number nor a name; got True"),
        ("model: {dropout: no}\n", "model.dropout: neither a number nor a name; got False"),
        ("train: {optimizer: {lr: on}}\n", "train.optimizer.lr: neither a number nor a name"),
        ("train: {epochs: 2.5}\n", "write 2 or 3"),
        ("train: {optimizer: {lr: '0,1'}}\n", "write 0.1, with a point"),
        ("seeds: [yes]\n", "seeds: seeds are whole numbers"),
        ("train:\n", "made.yaml, line 1: train: empty; leave the key out for its default"),
        ("name: 5\n", 'write "5", in quotes'),
        ("name: 1_000\n", 'write "1_000", in quotes'),
        ("baseline: no\narms: {no: {}}\n", "a name goes in quotes"),
        ("? [1]\n: 2\n", "a key that is no text"),
        ("a: 1\n---\nb: 2\n", "but found another document"),
        ("\tname: x\n", "line 1: not valid YAML"),
        ("name: x\nkey: a\0b\n", "line 2: not valid YAML: the character U+0000"),
        ("name: x\nkey: a\udc80b\n", "line 2: not valid YAML: the character U+DC80"),
        ('name: "\\UFFFFFFFF"\n', "not valid YAML: an escape"),
        (f"%YAML 1.{'1' * 5000}\n---\na: 1\n", "not valid YAML"),
        ('name: "\\ud800"\n', "name: not a readable text"),
        ('name: "a\\x1b[2J"\n', "name: holds characters that cannot be seen (\\x1b)"),
        ("name: a\u202eb\n", "name: holds characters that cannot be seen (\\u202e)"),
        ("key: a\u200bb\n", "key: holds characters that cannot be seen (\\u200b)"),
        ('arms: {none: {}, "a\\nb": {}}\n', "arms.a b: holds characters that cannot be seen (\\n)"),
        ("name: '  '\n", "name: blank"),
        ("just text", "not a study; got 'just text'"),
        ("", "not a study; got 'nothing'"),
        ("[1, 2]", "not a study; got [1, 2]"),
    ],
)
def test_refusals_name_the_file_the_line_and_the_key(text, message):
    assert message in refusal(text)


BILLION = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
BILLION_MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 3000 + "]" * 3000, "nested deeper than 40 levels"),
        ("a: " + "{a: " * 3000, "nested deeper than 40 levels"),
        ("\n".join(" " * i + "a:" for i in range(500)), "made.yaml, line 40: not valid YAML: nested deeper"),
        (BILLION, "more than 100000 values"),
        (BILLION_MERGED, "more than 100000 values or 40 levels"),
        (
            "b0: &b0 {x: 1}\n" + "".join(f"b{i}: &b{i} {{<<: *b{i - 1}}}\n" for i in range(1, 200)),
            "or 40 levels",
        ),
        ("name: " + "x" * 1_000_001, "made.yaml: too long; got '1000007 characters'"),
        ("seeds: [" + ",".join(map(str, range(10_001))) + "]", "seeds: too many: 10001"),
        (
            "arms:\n" + "".join(f"  a{i}: {{}}\n" for i in range(1001)),
            "arms: too many: 1001; expected at most 1000",
        ),
    ],
    ids=["flow", "open", "block", "laughs", "merged laughs", "chain", "long", "seeds", "arms"],
)
def test_what_would_take_forever_is_refused_at_once(text, message):
    started = time.process_time()
    assert message in refusal(text)
    assert time.process_time() - started < 8


def test_keys_given_twice_are_found_in_linear_time():
    def seconds(count: int) -> float:
        text = "arms:\n" + "".join(f"  a{i}: 1\n" for i in range(count)) + "  a0: 2\n"
        started = time.process_time()
        with pytest.raises(UserError, match=f"line {count + 2}: not valid YAML: 'a0' is given twice"):
            parse_yaml(text, "f")
        return time.process_time() - started

    assert min(seconds(2000) for _ in range(3)) < 8 * min(seconds(500) for _ in range(3))


class TestOnTheCommandLine:
    def test_an_override_longer_than_a_file_name(self):
        arms = ", ".join(f"arm number {i}: {{l1: {i}e-5}}" for i in range(1, 12))
        assignment = f"arms={{none: {{}}, {arms}}}"
        assert len(assignment.encode()) > 255
        study = assembled_study([assignment])
        assert study.arms["arm number 11"] == {"l1": 11e-5}

    @pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "a\0b", "x" * 300 + ".yaml"])
    def test_what_can_be_no_file_is_no_study(self, name):
        for load in (load_study, lambda text: assembled_study([text])):
            with pytest.raises(UserError, match="no such study"):
                load(name)

    def test_bytes_that_the_locale_cannot_read_are_read_as_utf_8(self):
        given = 'arms={none: {}, "λ": {l1: 1e-4}}'.encode().decode("ascii", "surrogateescape")
        assert list(
            assembled_study([given], arms="none,λ".encode().decode("ascii", "surrogateescape")).arms
        ) == [
            "none",
            "λ",
        ]
        with pytest.raises(UserError, match="an argument that is no UTF-8 text"):
            assembled_study(["name=\udcff"])

    def test_an_arm_whose_name_holds_dots(self):
        content = {"arms": {"none": {}, "v1.5": {"l1": 1}}}
        override(content, "arms.v1.5.l1=2")
        assert content["arms"] == {"none": {}, "v1.5": {"l1": 2}}

    def test_a_folder_is_no_study_but_may_hold_one(self, tmp_path):
        (tmp_path / "study.yaml").write_text(Study().to_yaml())
        with pytest.raises(UserError, match=r"a folder, no study.*did you mean .*study\.yaml\?"):
            load_study(str(tmp_path))

    def test_a_file_that_is_no_utf_8_names_the_line(self, tmp_path):
        (tmp_path / "s.yaml").write_bytes(b"name: x\nkey: caf\xe9\n")
        with pytest.raises(UserError, match=r"s\.yaml, line 2: cannot read the study file"):
            load_study(str(tmp_path / "s.yaml"))

    def test_a_byte_order_mark_is_no_text(self, tmp_path):
        (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbfname: mine\n")
        assert load_study(str(tmp_path / "s.yaml")).name == "mine"
