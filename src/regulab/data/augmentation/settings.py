"""``data.augment``: how training images change at random. The keys stand in the order in which they are done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from regulab.data.augmentation.fill import MEAN, Outside, colour_refusal
from regulab.data.augmentation.operation import Operation
from regulab.data.augmentation.operations.crop import PaddedCrop
from regulab.data.augmentation.operations.cutout import Cutout
from regulab.data.augmentation.operations.erase import RandomErasing
from regulab.data.augmentation.operations.posterize import Posterize
from regulab.data.augmentation.operations.rand_augment import RandAugment
from regulab.data.augmentation.operations.resized_crop import ResizedCrop
from regulab.data.augmentation.operations.solarize import Solarize
from regulab.data.augmentation.ranges import (
    Degrees,
    Deviation,
    Exponents,
    Factors,
    Noise,
    Scale,
    Shear,
    Shift,
    Turn,
)
from regulab.errors import UserError, did_you_mean
from regulab.registry import catalogue
from regulab.values import Part
from regulab.values.complaints import Refusal
from regulab.values.short import Short

FLIPS = ("horizontal", "vertical", "both")
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
FACTORS = "A number r draws factors from 1 − r to 1 + r."


def _flip(value: Any) -> bool | str:
    if isinstance(value, bool) or value in FLIPS:
        return value  # type: ignore[no-any-return]
    words = ("true", "false", *FLIPS)
    raise Refusal(
        "unknown value", got=value, expected=f"one of {', '.join(words)}", cure=did_you_mean(value, words)
    )


Flip = Annotated[
    bool | str,
    PlainValidator(_flip),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": list(FLIPS)}]}),
]


def _share(value: Any) -> bool | float:
    """0 and 1 are the switches that they have always been."""
    takes = "true, false, or the share of images, from 0 to 1"
    if not isinstance(value, int | float):
        raise Refusal("neither true nor false, nor a number", got=value, expected=takes)
    number = float(value)
    if not 0 <= number <= 1:
        raise Refusal("out of range", got=value, expected=takes)
    return number if 0 < number < 1 else bool(number)


Share = Annotated[
    bool | float,
    PlainValidator(_share),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "number", "minimum": 0, "maximum": 1}]}),
]


class AugmentSettings(Part):
    """How much images may be changed; everything is off by default."""

    rotate: Degrees = Field(
        default=0.0,
        description="Degrees, either way, or from one to another: [-5, 15]; positive turns "
        "counter-clockwise.",
    )
    translate: Shift = Field(default=0.0, description="Pixels, either way, along each axis.")
    translate_x: Shift | None = Field(
        default=None,
        description="Pixels to the right, in the place of `translate`; null: as `translate` says.",
    )
    translate_y: Shift | None = Field(
        default=None, description="Pixels down, in the place of `translate`; null: as `translate` says."
    )
    scale: Scale = Field(
        default=0.0, description="Enlarged or reduced by up to this fraction, or factors: [0.8, 1.1]."
    )
    shear_x: Shear = Field(default=0.0, description="Degrees by which upright lines lean, either way.")
    shear_y: Shear = Field(default=0.0, description="Degrees by which level lines lean, either way.")
    flip: Flip = Field(
        default=False,
        description="Every second image on average: left to right (`true`, `horizontal`), upside down (`vertical`), "
        "each by a draw of its own (`both`).",
    )
    fill: Outside = Field(
        default=0.0,
        description="What comes from outside: a level from 0 to 255, [r, g, b], `mean` of the training images, "
        "`reflect` or `edge`.",
    )
    crop: Annotated[PaddedCrop | None, Short("padding", whole=False)] = Field(
        default=None,
        description="A window of the image's size, from the image with a border: `crop: 4` is a border of 4 pixels.",
    )
    resized_crop: Annotated[ResizedCrop | None, Short()] = Field(
        default=None, description="A part of the image, brought to its size; `true` takes the defaults."
    )
    brightness: Factors = Field(default=0.0, description=f"Values times a factor. {FACTORS}")
    contrast: Factors = Field(default=0.0, description=f"Away from the mean grey by a factor. {FACTORS}")
    saturation: Factors = Field(
        default=0.0, description=f"Away from grey by a factor, for images in colour. {FACTORS}"
    )
    hue: Turn = Field(
        default=0.0,
        description="Round the colour circle, either way, in turns, for images in colour; 0.5 is the opposite colour.",
    )
    gamma: Exponents = Field(
        default=0.0, description="To the power of an exponent; r draws from 1 − r to 1 + r."
    )
    sharpness: Factors = Field(default=0.0, description=f"Away from a smoothed copy by a factor. {FACTORS}")
    grayscale: Probability = Field(
        default=0.0, description="The share of images that lose their colour, for images in colour."
    )
    invert: Probability = Field(default=0.0, description="The share of images that become their negatives.")
    autocontrast: Probability = Field(
        default=0.0, description="The share of images whose levels are stretched over the whole range."
    )
    equalize: Probability = Field(
        default=0.0, description="The share of images whose levels are spread evenly."
    )
    solarize: Annotated[Solarize | None, Short("threshold")] = Field(
        default=None, description="Bright pixels inverted: `solarize: 128` from level 128 on."
    )
    posterize: Annotated[Posterize | None, Short("bits")] = Field(
        default=None, description="Fewer levels: `posterize: 4` keeps 4 bits."
    )
    trivial_augment: Share = Field(
        default=False,
        description="TrivialAugment: one operation of fourteen, at a random strength; a number is the share of images "
        "that get it.",
    )
    rand_augment: Annotated[RandAugment | None, Short()] = Field(
        default=None,
        description="RandAugment: some operations of fourteen, at one strength; `true` takes the defaults.",
    )
    blur: Deviation = Field(
        default=0.0,
        description="The deviation of a Gaussian in pixels, or a range to draw it from: [0.1, 2].",
    )
    noise: Noise = Field(
        default=0.0,
        description="The deviation of Gaussian noise, as a part of the range from black to white, or a range to draw "
        "it from: [0, 0.1].",
    )
    cutout: Annotated[Cutout | None, Short("size", whole=False)] = Field(
        default=None, description="A square filled at a random place: `cutout: 8` is 8 pixels a side."
    )
    erase: Annotated[RandomErasing | None, Short("probability")] = Field(
        default=None, description="A rectangle of random shape filled: `erase: 0.5` in every second image."
    )

    @model_validator(mode="after")
    def _fill_takes_effect(self) -> Self:
        if self.fill and self._asked() == self.model_copy(update={"fill": 0.0})._asked():
            raise Refusal(
                "has no effect: nothing comes from outside",
                key="fill",
                got=list(self.fill) if isinstance(self.fill, tuple) else self.fill,
                cure="leave it out, or write rotate, translate, scale, shear, crop or a policy",
            )
        return self

    def asked_keys(self) -> set[str]:
        """The keys that are not as they are where nothing is asked for."""
        fields = AugmentSettings.model_fields
        return {key for key, field in fields.items() if getattr(self, key) != field.default}

    @property
    def active(self) -> bool:
        """Whether any image would change."""
        return self != AugmentSettings()

    @property
    def needs_mean(self) -> bool:
        """Whether the mean of the training images takes part."""
        return MEAN in [fill for one in self.operations() for fill in one.fills()]

    def operations(self) -> Sequence[Operation]:
        """In the order in which they are done, which is that of the keys."""
        return self._asked() if self.active else []

    def _asked(self) -> list[Operation]:
        asked = [kind.of(self) for kind in all_operations().values()]
        found = [one for one in asked if one is not None]
        first, *others = found
        # A map that moves nothing is left out only beside others: what asks for nothing has always been resampled.
        return others if others and first == type(first).of(AugmentSettings()) else found

    def refusal(self, channels: int, height: int, width: int) -> Refusal | None:
        """What is wrong with it for images of this kind, and under which key."""
        asked = [colour_refusal("fill", self.fill, channels)]
        asked += [one.refusal(channels, height, width) for one in self.operations()]
        return next(filter(None, asked), None)

    def require(self, where: str, channels: int, height: int, width: int) -> None:
        """Raises `UserError` for that, ``where`` being the key of the settings."""
        refused = self.refusal(channels, height, width)
        if refused is not None:
            raise UserError(
                refused.problem,
                got=refused.got,
                expected=refused.expected,
                where=f"{where}.{refused.key}",
                cure=refused.cure,
            )

    def label(self) -> str:
        """For legends: ``rotate ±7°, shift ±2 px``."""
        return ", ".join(filter(None, (one.label() for one in self.operations()))) or "no augmentation"


def joined(several: Iterable[AugmentSettings | None]) -> AugmentSettings | None:
    """What several ask for together, each key of which one of them asks; None where none asks for anything."""
    asked = [settings for settings in several if settings is not None]
    if len(asked) < 2:
        return asked[0] if asked else None
    plain, together = AugmentSettings(), dict[str, Any]()
    for settings in asked:
        own = settings.asked_keys()
        assert own.isdisjoint(together), f"asked for twice: {', '.join(own & {*together})}"
        together |= {key: getattr(settings, key) for key in own}
    return plain.model_copy(update=together)


@cache
def all_operations() -> Mapping[str, type[Operation]]:
    """Every operation by name, in the order of the keys of `AugmentSettings`."""
    found: dict[str, type[Operation]] = catalogue("regulab.data.augmentation.operations", Operation)
    order = list(AugmentSettings.model_fields)
    return dict(sorted(found.items(), key=lambda one: order.index((one[1].keys or (one[0],))[0])))
