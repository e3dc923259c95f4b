"""``regulab init`` writes a study file that runs as it is; ``regulab schema`` says what such files may hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from regulab.cli import app
from regulab.cli.reference import study_keys
from regulab.cli.study_schema import study_schema
from regulab.cli.study_template import study_file
from regulab.config import (
    Study,
    build_study,
    builtin_studies,
    load_study,
    parse_study,
    parse_yaml,
)
from regulab.errors import UserError
from regulab.techniques import TECHNIQUES, arms_of

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
KEYS = study_keys()
jsonschema: Any = pytest.importorskip("jsonschema", reason="altair brings it")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str):
    return CliRunner().invoke(app, arguments)


class TestInit:
    def test_what_it_writes_is_the_default_study_under_the_files_name(self):
        done = invoke("init", "mine.yaml")
        assert (done.exit_code, done.stdout) == (0, "mine.yaml\n")
        assert load_study("mine.yaml") == build_study({"name": "mine"})
        assert load_study("mine.yaml").model_copy(update={"name": Study().name}) == Study()

    def test_without_a_name_it_is_the_study_called_study(self):
        assert invoke("init").stdout == "study.yaml\n"
        assert load_study("study.yaml").name == "study"

    def test_it_runs_as_it_is(self):
        invoke("init")
        done = invoke("run", "study.yaml", "--seeds", "1", "--epochs", "1", "--arms", "none,l1", "--dry-run")
        assert done.exit_code == 0, done.stderr
        assert done.stdout.startswith("2 runs in 1 fleet, into runs/study\n")

    def test_every_key_of_the_reference_stands_there_with_its_meaning(self):
        text = study_file(Path("s.yaml"))
        flat = re.sub(r"\n *# ", " ", text)
        for key in KEYS:
            if key.name.startswith("arms.") or (
                key.of and not {"sgd", "one_cycle"} & set(key.of.split(" or "))
            ):
                continue
            if key.name.startswith("data.augment."):
                assert key.name.split(".")[2] in flat, key.name  # `regulab show augmentation` tells the rest
                continue
            name = key.name.rpartition(".")[2]
            assert re.search(rf"^ *(# )?{name}:", text, re.MULTILINE), key.name
            assert key.meaning in flat, key.name
        assert all(f"# {name}: " in text for name in TECHNIQUES)

    def test_a_file_that_is_there_stays_unless_forced(self):
        Path("mine.yaml").write_text("name: precious\n")
        done = invoke("init", "mine.yaml")
        assert done.exit_code == 2
        assert (
            "the file is there already; got 'mine.yaml'; --force replaces it, FILE names another"
            in done.stderr
        )
        assert Path("mine.yaml").read_text() == "name: precious\n"
        assert invoke("init", "mine.yaml", "--force").exit_code == 0
        assert load_study("mine.yaml").name == "mine"

    @pytest.mark.parametrize(
        ("file", "message"),
        [
            (".", "no images here; got 'an empty folder'"),
            ("photos", "neither images that are there nor the name of a study file; got 'photos'"),
            ("/dev/null/x.yaml", "cannot write"),
            ("a\u202eb.yaml", "cannot be seen"),
            ("x" * 101 + ".yaml", "name"),
        ],
        ids=["empty-folder", "not-there", "no-folder", "unseen", "long"],
    )
    def test_what_cannot_be_a_study_file(self, file, message):
        done = invoke("init", file, "--force")
        assert done.exit_code == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1

    def test_a_link_that_leads_nowhere_is_not_followed(self):
        Path("mine.yaml").symlink_to("elsewhere.yaml")
        assert invoke("init", "mine.yaml").exit_code == 2
        assert not Path("elsewhere.yaml").exists()


VALIDATOR = jsonschema.Draft202012Validator(study_schema())


def problems(content: object) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(content)]


def documented() -> dict[str, str]:
    """Every YAML block of the documents that holds a study, and every study file of the examples."""
    found = {path.name: path.read_text() for path in sorted((ROOT / "examples").glob("*.yaml"))}
    for document in DOCUMENTS:
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL)):
            found[f"{document.relative_to(ROOT)}-{number}"] = block
    return found


class TestSchema:
    def test_it_is_json_and_a_schema(self):
        done = invoke("schema")
        assert done.exit_code == 0
        jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))
        assert json.loads(done.stdout) == study_schema()

    @pytest.mark.parametrize(
        "text", [*builtin_studies().values(), study_file(Path("s.yaml"))], ids=str.__len__
    )
    def test_built_in_studies_and_the_one_of_init_are_valid(self, text):
        assert problems(parse_yaml(text, "")) == []

    @pytest.mark.parametrize("name", documented())
    def test_examples_are_valid(self, name):
        assert problems(parse_yaml(documented()[name], name)) == []

    def test_there_are_examples(self):
        assert {"README.md-0", "strengths-mnist-l1.yaml"} <= documented().keys()

    @pytest.mark.parametrize(
        "fields", [{"name": "batch", "splits": 4}, {"name": "ghost_batch", "splits": 0}], ids=str
    )
    def test_a_norm_has_its_own_fields(self, fields):
        assert problems({"model": {"norm": {"name": "ghost_batch", "splits": 8}}}) == []
        assert problems({"model": {"norm": fields}}) != []

    def test_a_resolved_study_is_valid(self):
        study = build_study({"train": {"optimizer": "adamw", "schedule": "cosine"}})
        study = study.model_copy(update={"resolved": {"class_names": ["0", "1"]}})
        assert problems(parse_yaml(study.to_yaml(), "")) == []
        assert problems(parse_yaml(load_study("bn-gbn").to_yaml(), "")) == []

    @pytest.mark.parametrize(
        "content",
        [
            {"trian": {"epochs": 3}},
            {"train": {"epoch": 3}},
            {"train": {"epochs": 0}},
            {"train": {"epochs": "many"}},
            {"train": {"optimizer": {"momentun": 0.9}}},
            {"train": {"optimizer": {"betas": [0.9, 0.99]}}},
            {"train": {"optimizer": {"name": "adam", "momentum": 0.9}}},
            {"train": {"schedule": "one-cycle"}},
            {"train": {"schedule": {"name": "one_cycle", "warmup": 3}}},
            {"data": "mnits"},
            {"data": {"name": "mnist", "augment": {"rotat": 7}}},
            {"model": {"norm": "bacth"}},
            {"protocol": "both"},
            {"seeds": 0},
            {"seeds": [1, 1]},
            {"arms": {}},
            {"arms": {"none": {"l3": 1e-4}}},
            {"arms": {"none": {"l1": -1}}},
            {"arms": {"none": {"l1": {"strenght": 1e-4}}}},
            {"arms": {"none": {"norm": "bacth"}}},
            {"arms": {"none": {"early_stopping": {"patience": 0}}}},
            {"factors": {}},
            {"factors": {"l1": 1e-4}},
            {"factors": {"l1": [0]}},
            {"factors": {"l1": [0, "x"]}},
            {"factors": {"l3": [0, 1]}},
            {"factors": {"norm": ["batch", "bacth"]}},
            {"factors": {"penalty": {"none": {}, "l1": 1e-4}}},
            {"factors": {"penalty": {"none": {}, "l1": {"l3": 1e-4}}}},
        ],
        ids=json.dumps,
    )
    def test_what_is_misspelt_or_out_of_range_is_refused_by_both(self, content):
        assert problems(content)
        with pytest.raises(UserError):
            arms_of_whole(content)

    @pytest.mark.parametrize(
        "content",
        [
            {"data": "mnist", "model": "deep", "protocol": "course", "seeds": 3},
            {"data": {"name": "folder:photos", "augment": {"rotate": 10, "flip": True}, "range": [0, 4095]}},
            {"model": {"name": "nets.py:Net", "dropout": None}},
            {"model": "nets.py:Net"},
            {"train": {"optimizer": {"lr": 0.2, "nesterov": True}, "schedule": {"warmup_fraction": 0.2}}},
            {"train": {"optimizer": {"name": "adamw", "lr": 0.01}, "schedule": {"name": "step", "every": 3}}},
            {"train": {"optimizer": "adam", "schedule": "constant"}},
            {"seeds": [0, 3, 7]},
            {
                "baseline": "a",
                "arms": {"a": None, "b": {"l1": 1e-4, "dropout": {"rate": 0.3}, "norm": "none"}},
            },
            {"arms": {"none": {}, "b": {"early_stopping": 5, "augmentation": {"flip": True}}}},
            {"factors": {"l1": [0, 1e-4], "dropout": [False, 0.2], "early_stopping": [None, 5]}},
            {
                "factors": {
                    "norm": ["none", {"kind": "ghost_batch", "splits": 4}],
                    "l1": {"no": None, "l1": {"l1": 1}},
                }
            },
            {"factors": {"penalty": {"none": {}, "both": {"l1": 1e-4, "l2": 1e-4}}}, "baseline": "both"},
        ],
        ids=json.dumps,
    )
    def test_what_is_right_in_its_short_forms_too_is_taken_by_both(self, content):
        assert problems(content) == []
        arms_of_whole(content)

    def test_keys_to_be_merged_from_are_free(self):
        assert problems({"x-base": {"anything": [1]}}) == []

    @given(st.sampled_from([key.name for key in KEYS if "." in key.name and not key.of]), st.text())
    def test_no_key_takes_a_neighbour_of_another_name(self, name, text):
        *above, last = name.replace("arms.ARM", "arms.none").split(".")
        if text in ("name", "kind") or any(k.name.endswith(f".{text}") for k in KEYS):
            return
        content: object = {text: 1}
        for part in reversed(above):
            content = {part: content}
        assert problems(content), last


def arms_of_whole(content: dict[str, Any]) -> None:
    from regulab.data import find_dataset
    from regulab.models import NORMS
    from regulab.registry import lookup

    study = build_study(parse_study(json.dumps(content), "f")[0], "f")
    arms_of(study)
    find_dataset(study.data.name)
    assert isinstance(study.model.norm, str)
    lookup(NORMS, study.model.norm, "norm")
