"""docs/techniques.md is what the code says, and what it says a study file takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from regulab.cli.technique_page import page
from regulab.config import build_study
from regulab.models import NORMS, norm_of
from regulab.techniques import TECHNIQUES, arms_of

DOCS = Path(__file__).parents[2] / "docs" / "techniques.md"


def test_it_is_up_to_date():
    assert DOCS.read_text() == page(), "python -m regulab.cli.technique_page > docs/techniques.md"


def test_every_technique_and_norm_stands_on_it_with_an_anchor():
    text = page()
    headings = re.findall(r"^### (.+)$", text, flags=re.M)
    assert sorted(headings) == sorted([*TECHNIQUES, *(f"norm: {name}" for name in NORMS)])
    anchors = {heading.replace(": ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#(.+?)\)", text)) == anchors


@pytest.mark.parametrize("name", TECHNIQUES)
def test_its_examples_are_those_that_are_tested(name):
    (section,) = re.findall(rf"^### {name}\n(.*?)(?=^##|\Z)", page(), flags=re.M | re.S)
    (written,) = re.findall(r"```yaml\n(.*?)```", section, flags=re.S)
    content = yaml.safe_load(written)
    arms = arms_of(build_study(content))
    found = [next(t for t in own if t.name == name) for arm, own in arms.items() if arm != "none"]
    assert found == list(TECHNIQUES[name].examples())


@pytest.mark.parametrize("name", NORMS)
def test_its_norms_are_those_that_are_tested(name):
    (section,) = re.findall(rf"^### norm: {name}\n(.*?)(?=^##|\Z)", page(), flags=re.M | re.S)
    (written,) = re.findall(r"```yaml\n(.*?)```", section, flags=re.S)
    study = build_study(yaml.safe_load(written))
    assert norm_of(study.model.norm) == NORMS[name].examples()[-1]


def test_nothing_of_the_docstrings_markup_is_left():
    assert "``" not in re.sub(r"^```.*$", "", page(), flags=re.M)
    assert not re.search(r"::$", page(), flags=re.M)
