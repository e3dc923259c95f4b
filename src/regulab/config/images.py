"""``data`` and ``protocol``: which images a study has, and which of them train, validate and test."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from regulab.config.paths import with_format
from regulab.config.training import RECORDED
from regulab.values import Count, Finite, Fraction, Part, Place, Positive
from regulab.values.complaints import Refusal
from regulab.values.part import how_named


class ChannelConstants(Part):
    """What weights from elsewhere were trained with: x becomes (x − mean)/std, for pixels from 0 to 1."""

    mean: Annotated[tuple[Finite, ...], Field(min_length=1, max_length=16)] = Field(
        description="Of each channel; a single one is that of all."
    )
    std: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=16)] = Field(
        description="Of each channel; a single one is that of all."
    )


Normalize = Annotated[
    Annotated[Literal["dataset", "pixel", "none", "imagenet"], Tag("[name]")]
    | Annotated[ChannelConstants, Tag("[mapping]")],
    Discriminator(how_named),
]

NAME_PATTERN = "name:"  # of ``data.group``: a regular expression on file names follows
MOST_PIXELS = 4_096  # a side
Side = Annotated[int, Field(ge=1, le=MOST_PIXELS)]


class Data(Part):
    """Which images, and what happens to every one of them in every arm."""

    name: Place = Field(
        default="digits",
        description="One of `regulab show datasets`, or your own images: `folder:PATH`, a folder of class folders, "
        "`csv:PATH`, a table of file names and labels, or `npz:PATH`, a file of arrays. What ends in `/`, `.csv` or "
        "`.npz` needs no word before it.",
    )
    train_images: Count | None = Field(
        default=None,
        description="So many of the training part, stratified by class, the same for every seed; null takes all.",
    )
    group: Place | None = Field(
        default=None,
        description="How images belong together, so that those of one patient or burst never stand on both sides of a "
        "split. For a folder `folder`, the first folder below the class folder, or `name:PATTERN`, what the brackets "
        "of a regular expression find in the file's name (`name:^(P\\d+)_`); for a table the name of a column, for "
        "arrays that of an array (`patient`, or `train_patient` …). null: every image by itself.",
    )
    label_noise: Fraction | None = Field(
        default=None,
        description="The share of the training labels that are replaced by another class, drawn once and the same for "
        "every arm and seed; validation and test keep theirs. null: none.",
    )
    normalize: Normalize = Field(
        default="dataset",
        description="To mean 0 and deviation 1 over the training part, per channel (`dataset`) or per pixel and "
        "channel (`pixel`), or not at all (`none`). For weights from elsewhere what they were trained with: "
        "`imagenet`, of colour images, or `{mean: […], std: […]}` of pixels from 0 to 1.",
    )
    augment: dict[str, Any] = Field(
        default={},
        description="How training images change at random in every arm that says nothing of its own: `regulab show "
        "augmentation` tells the operations and draws them.",
    )
    range: tuple[Finite, Finite] | None = Field(
        default=None,
        description="For a folder of grey images of 16 or 32 bits, the levels that become 0 and 255; null takes the "
        "least and the greatest level of the training part.",
    )
    size: Side | tuple[Side, Side] | None = Field(
        default=None,
        description="To which pixels image files are brought: the side of a square, or `[height, width]`; null takes "
        "them as they are, all of one size.",
    )
    fit: Literal["crop", "pad", "squash"] | None = Field(
        default=None,
        description="With a `size`, what happens to images of another shape: `crop` (null, too) cuts the middle out, "
        "`pad` adds black bars, `squash` ignores the shape.",
    )

    @field_validator("name")
    @classmethod
    def _a_bare_path_will_do(cls, value: str) -> str:
        return with_format(value)

    @field_validator("group")
    @classmethod
    def _a_pattern_with_brackets(cls, value: str | None) -> str | None:
        if value is None or not value.startswith(NAME_PATTERN):
            return value
        try:
            brackets = re.compile(value.removeprefix(NAME_PATTERN)).groups
        except re.error as error:
            raise Refusal(
                f"no regular expression ({error})", got=value, expected=r"such as name:^(P\d+)_"
            ) from error
        if brackets != 1:
            raise Refusal(
                f"{brackets} pairs of brackets in the pattern",
                got=value,
                expected=r"one, around what names the group: name:^(P\d+)_",
            )
        return value

    @field_validator("label_noise")
    @classmethod
    def _no_noise_is_none(cls, value: float | None) -> float | None:
        """The same study, by the same name."""
        return value or None

    @field_validator("range")
    @classmethod
    def _from_low_to_high(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise Refusal(
                "from a higher level to a lower one",
                got=list(value),
                expected="a lower and a higher one: [0, 4095]",
            )
        if value is not None and not math.isfinite(value[1] - value[0]):
            raise Refusal("too wide", got=list(value), expected="levels of images, such as [0, 4095]")
        return value

    @field_validator("size", mode="before")
    @classmethod
    def _a_side_or_two(cls, value: Any) -> Any:
        sides = list(value) if isinstance(value, list | tuple) else [value]
        whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
        given = value is not None
        if given and not (whole and len(sides) in (1, 2) and all(1 <= side <= MOST_PIXELS for side in sides)):
            raise Refusal(
                "no size of images",
                got=value,
                expected=f"the side of a square, 1 to {MOST_PIXELS:,} pixels, or [height, width]",
            )
        return sides[0] if given and len(sides) == 1 else value

    @field_validator("size")
    @classmethod
    def _a_square_is_one_number(cls, value: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        return value[0] if isinstance(value, tuple) and value[0] == value[1] else value

    @model_validator(mode="after")
    def _only_a_size_is_fitted_to(self) -> Data:
        if self.fit is not None and self.size is None:
            raise Refusal("nothing to fit to", key="fit", got=self.fit, expected="a data.size such as 64")
        return self

    @property
    def height_and_width(self) -> tuple[int, int] | None:
        """What ``size`` says, in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class Protocol(Part):
    """Which images train, validate and test."""

    kind: Literal["holdout", "course", "closed"] = Field(
        default="holdout",
        description="`holdout` cuts validation from the training split; `course` validates on the test split, as the "
        "assignment does, and the report says so; `closed` is `holdout` with a test split that nobody opens: what is "
        "tested are the validation images, as for trials before a study.",
    )
    validation: Annotated[float, Field(gt=0, le=1e9)] | None = Field(
        default=None,
        description="Under `holdout` and `closed` a count of images (1, 2, …) or a fraction between 0 and 1; null: the "
        "dataset's own validation part, or a sixth.",
    )

    @model_validator(mode="before")
    @classmethod
    def _the_course_cuts_nothing(cls, values: Any, info: ValidationInfo) -> Any:
        if not isinstance(values, Mapping) or values.get("kind") != "course":
            return values
        if values.get("validation") is None or (info.context or {}).get(RECORDED):
            return {key: value for key, value in values.items() if key != "validation"}
        raise Refusal(
            "has no effect under protocol course, which validates on the test split",
            key="validation",
            got=values["validation"],
            cure="leave it out, or write kind: holdout",
        )

    @field_validator("validation")
    @classmethod
    def _count_or_fraction(cls, value: float | None) -> float | None:
        if value is not None and value >= 1 and value != int(value):
            raise ValueError("a count of images (1, 2, …) or a fraction between 0 and 1")
        return value
