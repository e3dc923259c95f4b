"""What every piece of the study file is made of: frozen parts, numbers with their ranges, names."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from regulab.errors import unseen_characters
from regulab.values.complaints import Refusal, explaining
from regulab.values.describing import is_union
from regulab.values.sources import Source

LARGEST_INTEGER = 2**63 - 1
MOST_SEEDS = 10_000


def _readable(text: str) -> str:
    hidden = unseen_characters(text)
    if hidden:
        raise Refusal(f"holds characters that cannot be seen ({hidden})", expected="readable text")
    if text and not text.strip():
        raise Refusal("blank", got=text, expected="readable text")
    return text


Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
DropoutRate = Annotated[float, Field(ge=0, le=0.999, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Epochs = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Text = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_readable)]  # of names
Place = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_readable)]  # a name or a path


class NameWithFields(BaseModel):
    """Something that a study file names together with fields of its own: ``{name: ghost_batch, splits: 8}``.

    Whoever registers the name knows the fields and checks them.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=False, allow_inf_nan=False)
    name: Text

    @property
    def fields(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


def how_named(value: Any) -> str:
    """The tag of a value that may be a name or a mapping."""
    return "[mapping]" if isinstance(value, Mapping | BaseModel) else "[name]"


# In square brackets, which no key of a study file has: complaints leave them out of the places that they name.
NameOrMapping = Annotated[
    Annotated[Text, Tag("[name]")] | Annotated[NameWithFields, Tag("[mapping]")], Discriminator(how_named)
]


class Part(BaseModel):
    """A frozen piece of configuration that refuses keys it does not know, and true or false for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
        """From keywords; raises `UserError` with the key, what was got and what would be right."""
        with explaining(type(self), Source(type(self).__name__, is_key=True)):
            super().__init__(**values)

    # Pydantic calls an ``__init__`` without this mark for every part *inside* another as well, where the key would be
    # told from that part alone and the context of the validation would be lost.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="before")
    @classmethod
    def _a_switch_is_no_number(cls, values: Any) -> Any:
        """Python counts true as 1: ``epochs: yes`` would be one epoch."""
        for key, value in values.items() if isinstance(values, Mapping) else ():
            if (
                isinstance(value, bool)
                and key in cls.model_fields
                and _scalar(cls.model_fields[key].annotation)
            ):
                cure = "YAML reads yes, no, on, off, true and false as switches; a name goes in quotes"
                raise Refusal("neither a number nor a name", key=str(key), got=value, cure=cure)
        return values


def _scalar(annotation: Any) -> bool:
    """Whether a field takes numbers or names, and no switch."""
    kinds = typing.get_args(annotation) if is_union(annotation) else (annotation,)
    bare = {typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind for kind in kinds}
    return bool not in bare and not bare.isdisjoint({int, float, str})
