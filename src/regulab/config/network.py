"""``model``: the network of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from regulab.values import DropoutRate, NameOrMapping, Part, Place


class Model(Part):
    """The network."""

    name: Place = Field(
        default="cnn10k",
        description="One of `regulab show models`, or your own as `FILE.py:NAME`, a `torch.nn.Module`.",
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

    @model_validator(mode="before")
    @classmethod
    def _own_networks_keep_their_rates(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        own = ".py:" in str(values.get("name"))
        if "dropout" not in values and own:
            return {**values, "dropout": None}
        if values.get("dropout", 0) is None and not own:
            return {**values, "dropout": 0.0}
        return values
