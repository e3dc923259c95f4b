"""How every run of a study trains: epochs, batches, the optimizer, the schedule of its rate.

There is one learning rate: the schedule's highest. It is ``optimizer.lr``; under one-cycle ``schedule.max_lr`` is
another name for it, and once a study has been read both hold the same number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from regulab.optimizers import OPTIMIZERS
from regulab.optimizers.optimizer import Optimizer
from regulab.optimizers.sgd import SGD
from regulab.schedules import SCHEDULES
from regulab.schedules.one_cycle import OneCycle, share_one_rate
from regulab.schedules.schedule import Moment, Schedule
from regulab.values import Count, Epochs, Part, Positive, Text
from regulab.values.choices import OneOf
from regulab.values.complaints import Refusal
from regulab.values.named import Named

RECORDED = (
    "recorded"  # in the context of a validation: a run directory's own file, which older versions wrote too
)
DEFAULT_NAMES = {"optimizer": SGD.name, "schedule": OneCycle.name}


def _kind_of_weights(value: Any) -> str:
    return "[mapping]" if isinstance(value, Mapping) else "[name]"


# In square brackets, which complaints leave out of the places that they name.
ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("[name]")] | Annotated[dict[Text, Positive], Tag("[mapping]")],
    Discriminator(_kind_of_weights),
]


class Train(Part):
    """For how long, in which batches and with which steps."""

    epochs: Epochs = Field(default=40, description="Passes over the training images in every run.")
    batch_size: Count = Field(default=128, description="Images of a step.")
    optimizer: Annotated[Optimizer, OneOf(OPTIMIZERS)] = Field(
        default=SGD(), description="The rule of a step; its name alone will do."
    )
    schedule: Annotated[Schedule, OneOf(SCHEDULES)] = Field(
        default=OneCycle(), description="How the learning rate changes; its name alone will do."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="Of activations and products; `auto`: bf16 where the machine multiplies it natively, fp16 on a GPU "
        "that does not. In fp16 each run's loss is scaled, and steps whose gradients overflow are left out.",
    )
    engine: Literal["fleet", "vmap", "plain"] = Field(
        default="fleet",
        description="All runs as one tensor program where the network allows it; `vmap`: by torch.func.vmap also "
        "where it is slower or rules of ours would do; `plain`: run by run.",
    )
    class_weights: ClassWeights | None = Field(
        default=None,
        description="How much an image of a class counts in what is minimized, in every arm: `balanced`, each class "
        "as much as any other in all, or weights by class name (`{cat: 2.5}`; the others have 1). Recorded losses stay "
        "unweighted. null: all alike.",
    )
    sampling: Literal["balanced"] | None = Field(
        default=None,
        description="Which images an epoch takes: `balanced` draws as many of every class, with the same draws for "
        "every arm of a seed; null takes each image at most once.",
    )

    @field_validator("class_weights", mode="before")
    @classmethod
    def _classes_by_name(cls, value: Any) -> Any:
        """YAML reads the class 7 as a number."""
        if not isinstance(value, Mapping):
            return value
        if not value:
            raise Refusal("weighs no class", got={}, expected="balanced, or a mapping such as {cat: 2.5}")
        for key, weight in value.items():
            if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 < weight < math.inf:
                raise Refusal("no weight", key=str(key), got=weight, expected="a number above 0")
        return {str(key) if type(key) is int else key: weight for key, weight in value.items()}

    @model_validator(mode="before")
    @classmethod
    def _names_written_out_and_one_rate(cls, values: Any, info: ValidationInfo) -> Any:
        if not isinstance(values, Mapping):
            return values
        parts = {key: _written_out(values.get(key, name), name) for key, name in DEFAULT_NAMES.items()}
        if (
            all(isinstance(part, dict) for part in parts.values())
            and parts["schedule"]["name"] == "one_cycle"
        ):
            recorded, kind = bool((info.context or {}).get(RECORDED)), parts["optimizer"]["name"]
            if isinstance(kind, str) and kind in OPTIMIZERS:  # else it is refused
                share_one_rate(OPTIMIZERS[kind], parts["optimizer"], parts["schedule"], recorded)
        return {**values, **parts}

    @model_validator(mode="after")
    def _balanced_once(self) -> Train:
        if self.class_weights == "balanced" and self.sampling == "balanced":
            raise Refusal(
                "balanced beside balanced sampling would make rare classes count twice over",
                key="class_weights",
                cure="leave out one of the two",
            )
        return self

    def learning_rate(
        self,
        step: int,
        steps_per_epoch: int,
        validation_losses: Sequence[float] = (),
        highest: float | None = None,
    ) -> float:
        """The rate of one optimizer step of a run, counted from 0 over the whole training.

        ``validation_losses`` are the run's own, of every epoch before the step's; only a schedule that follows
        validation asks for them. ``highest``: the run's own in the place of the optimizer's ``lr``.
        """
        moment = Moment(
            step=step,
            steps_per_epoch=steps_per_epoch,
            epochs=self.epochs,
            validation_losses=validation_losses,
        )
        return self.schedule.rate(self.optimizer.lr if highest is None else highest, moment)


def _written_out(value: Any, default: str) -> Any:
    """A bare name, or a mapping without one, as a mapping with its name."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Named):
        value = value.model_dump(exclude_unset=True)
    return {"name": default, **value} if isinstance(value, Mapping) else value
