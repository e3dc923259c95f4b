"""``model``: the network of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from regulab.config.paths import is_user_model
from regulab.values import DropoutRate, NameOrMapping, Part, Place, Text
from regulab.values.complaints import Refusal

DEEPEST = 10  # levels of a constructor's arguments
Patterns = Annotated[tuple[Text, ...], Field(max_length=1000)]


class GivenWeights(Part):
    """A file that all runs take their initial weights from."""

    file: Place = Field(
        description="`.safetensors`, `.pt`, `.pth`, `.bin`, `.ckpt` or `.tar`: parameters and buffers by name."
    )
    skip: Patterns = Field(
        default=(),
        description="Patterns of names that are not taken from the file, such as `fc.*`: those layers start from the "
        "seed's own weights.",
    )


class Model(Part):
    """The network."""

    name: Place = Field(
        default="cnn10k",
        description="One of `regulab show models`, or your own: `FILE.py:NAME`, a `torch.nn.Module` or a function that "
        "makes one; `timm:NAME`, `torchvision:NAME` or `package.module:NAME` of what is installed.",
    )
    args: dict[Text, Any] | None = Field(
        default=None,
        description="Parameters of the network's constructor by name; of regulab's own networks those that "
        "`regulab show models NAME` lists.",
    )
    norm: NameOrMapping = Field(
        default="batch",
        description="The normalization of every block: one of `regulab show norms`, or `{name: …}` with its fields.",
    )
    norm_position: Literal["before", "after"] = Field(
        default="before", description="Whether the norm stands before or after each ReLU."
    )
    depth: Annotated[int, Field(ge=1, le=200)] | None = Field(
        default=None, description="The number of blocks, of a network that leaves a choice of it."
    )
    dropout: DropoutRate | None = Field(
        default=0.05,
        description="The rate of all dropout layers, in every arm that says nothing of its own. null: the rates that "
        "the layers of your own network have, and its default there.",
    )
    weights: GivenWeights | None = Field(
        default=None,
        description="The file that all runs start from, its path alone will do; null: every seed draws its own.",
    )
    freeze: Patterns | None = Field(
        default=None,
        description="Patterns of names of parameters that are not trained, such as `layer1.*`.",
    )

    def __hash__(self) -> int:
        """Pydantic's own would hash ``args``, which is a mapping."""
        others = (
            self.name,
            self.norm,
            self.norm_position,
            self.depth,
            self.dropout,
            self.weights,
            self.freeze,
        )
        return hash((others, frozenset(self.args or ())))

    @model_validator(mode="before")
    @classmethod
    def _own_networks_keep_their_rates(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        own = is_user_model(values.get("name"))
        if "dropout" not in values and own:
            return {**values, "dropout": None}
        if values.get("dropout", 0) is None and not own:
            return {**values, "dropout": 0.0}
        return values

    @field_validator("weights", mode="before")
    @classmethod
    def _a_bare_path_will_do(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value

    @field_validator("args", "freeze", mode="before")
    @classmethod
    def _nothing_is_none(cls, value: Any) -> Any:
        return None if isinstance(value, Mapping | list | tuple) and not value else value

    @field_validator("args", mode="after")
    @classmethod
    def _values_that_a_file_can_hold(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        for key, inner in (value or {}).items():
            if not _plain(inner):
                raise Refusal(
                    "cannot be written to a study file",
                    key=key,
                    got=type(inner).__name__,
                    expected="a number, a text, a switch, or lists and mappings of them",
                )
        return value

    @field_validator("freeze", mode="before")
    @classmethod
    def _a_bare_pattern_will_do(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


def _plain(value: Any, depth: int = 0) -> bool:
    if isinstance(value, Mapping):
        return depth < DEEPEST and all(isinstance(k, str) and _plain(v, depth + 1) for k, v in value.items())
    if isinstance(value, list | tuple):
        return depth < DEEPEST and all(_plain(inner, depth + 1) for inner in value)
    return value is None or isinstance(value, bool | int | float | str)
