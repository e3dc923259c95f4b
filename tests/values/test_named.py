"""Parts that are chosen by name: read, written and described with it, although no class has it as a field."""

from __future__ import annotations

from typing import Annotated, ClassVar

import pytest
from pydantic import ValidationError

from regulab.config import Study
from regulab.optimizers import OPTIMIZERS
from regulab.optimizers.sgd import SGD
from regulab.schedules import SCHEDULES
from regulab.techniques import TECHNIQUES
from regulab.values import Part
from regulab.values.choices import OneOf
from regulab.values.complaints import technique_files
from regulab.values.named import Named


class Round(Named):
    name: ClassVar[str] = "round"
    radius: float = 1.0


class Square(Named):
    name: ClassVar[str] = "square"
    side: float = 2.0


class Drawing(Part):
    shape: Annotated[Named, OneOf({"round": Round, "square": Square})] = Round()


def test_the_name_chooses_the_part_and_is_written_first():
    drawing = Drawing.model_validate({"shape": {"side": 3, "name": "square"}})
    assert drawing.shape == Square(side=3)
    assert list(drawing.model_dump()["shape"].items()) == [("name", "square"), ("side", 3.0)]
    assert Drawing.model_validate(drawing.model_dump(mode="json")) == drawing
    assert Drawing(shape=Square()).shape == Square()
    assert drawing.model_dump(exclude={"shape": {"side"}}) == {"shape": {"name": "square"}}
    assert Square(side=2).model_dump(exclude_unset=True) == {"name": "square", "side": 2.0}


def test_another_ones_name_and_keys_are_refused():
    assert SGD.model_validate({"name": "sgd"}) == SGD()
    for wrong in ({"name": "oval"}, {"name": "round", "side": 1}, {"radius": 1}, 3):
        with pytest.raises(ValidationError):
            Drawing.model_validate({"shape": wrong})
    with pytest.raises(ValidationError, match="name"):
        Round.model_validate({"name": "square"})


def test_the_json_schema_of_a_study_has_every_registered_part_under_its_name():
    schema = Study.model_json_schema()
    for key, kinds in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        mapping = schema["$defs"]["Train"]["properties"][key]["discriminator"]["mapping"]
        assert list(mapping) == list(kinds)
        for name, reference in mapping.items():
            described = schema["$defs"][reference.rpartition("/")[2]]["properties"]
            assert list(described) == ["name", *kinds[name].model_fields]
            assert described["name"]["const"] == name


def test_techniques_are_known_by_their_files_before_torch_is():
    assert technique_files() == set(TECHNIQUES)
