"""How every run of a study trains: epochs, batches, the optimizer, the schedule of its rate.

There is one learning rate: the schedule's highest. It stands in ``optimizer.lr``; under one-cycle
``schedule.max_lr`` is another name for it, and a study that is read has the same number in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, model_validator

from regulab.config.complaints import Refusal
from regulab.config.parts import Count, Epochs, Fraction, NonNegative, Part, Positive

ONE_CYCLE_LR = 0.1  # of SGD, where neither a rate nor a peak is given
RECORDED = (
    "recorded"  # in the context of a validation: a run directory's own file, which older versions wrote too
)


class SGD(Part):
    """v ← momentum·v + gradient, w ← w − lr·v; with ``nesterov`` w ← w − lr·(gradient + momentum·v)."""

    name: Literal["sgd"] = Field(default="sgd", description="Which optimizer.")
    lr: Positive = Field(
        default=0.01,
        description="The learning rate; under a schedule its highest. Under `one_cycle` the default is 0.1.",
    )
    momentum: Fraction = Field(default=0.9, description="How much of the last step each step keeps.")
    nesterov: bool = Field(default=False, description="The gradient as it will be after the momentum's step.")

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise Refusal("nesterov needs a momentum above 0", key="nesterov", expected="momentum: 0.9")
        return self


class Adam(Part):
    """Steps in units of the gradient's running size. ``adamw`` is the same: its decay is technique ``weight_decay``."""

    name: Literal["adam", "adamw"] = Field(default="adam", description="Which optimizer.")
    lr: Positive = Field(default=1e-3, description="The learning rate; under a schedule its highest.")
    betas: tuple[Fraction, Fraction] = Field(
        default=(0.9, 0.999),
        description="Decay rates of the running means of the gradient and of its square.",
    )
    eps: Positive = Field(default=1e-8, description="Added to the root of the mean square.")


class Constant(Part):
    """The optimizer's rate, always."""

    name: Literal["constant"] = Field(default="constant", description="Which schedule.")


class Step(Part):
    """Multiplies the learning rate by ``factor`` after every ``every`` epochs."""

    name: Literal["step"] = Field(default="step", description="Which schedule.")
    every: Epochs = Field(default=10, description="Epochs between two changes.")
    factor: Positive = Field(default=0.1, description="What the rate is multiplied by.")


class Cosine(Part):
    """Half a cosine from the optimizer's rate to ``final_lr``, after ``warmup`` epochs of linear rise."""

    name: Literal["cosine"] = Field(default="cosine", description="Which schedule.")
    final_lr: NonNegative = Field(default=0.0, description="The rate at the end.")
    warmup: NonNegative = Field(default=0.0, description="Epochs of linear rise to the optimizer's rate.")


class OneCycle(Part):
    """Smith & Topin 2018 with cosine ramps: from ``lr/initial_division`` up to the optimizer's rate and down again."""

    name: Literal["one_cycle"] = Field(default="one_cycle", description="Which schedule.")
    max_lr: Positive | None = Field(
        default=None,
        description="The highest rate: another name for the optimizer's `lr`, of which one is enough.",
    )
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.3, description="The part of all steps in which the rate rises."
    )
    initial_division: Positive = Field(
        default=25.0, description="The first rate is the highest divided by this."
    )
    final_division: Positive = Field(default=1e4, description="The last rate is the first divided by this.")


DEFAULT_NAMES = {"optimizer": "sgd", "schedule": "one_cycle"}


class Train(Part):
    """How long, in which batches, by which steps."""

    epochs: Epochs = Field(default=40, description="Passes over the training images in every run.")
    batch_size: Count = Field(default=128, description="Images of a step.")
    optimizer: SGD | Adam = Field(
        default=SGD(), discriminator="name", description="The rule of a step; its name alone will do."
    )
    schedule: Constant | Step | Cosine | OneCycle = Field(
        default=OneCycle(),
        discriminator="name",
        description="How the learning rate changes; its name alone will do.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="Of activations and products; `auto`: bf16 where the machine multiplies it natively.",
    )
    engine: Literal["fleet", "plain"] = Field(
        default="fleet",
        description="All runs as one tensor program where the network allows it, or run by run.",
    )

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
            _share_one_rate(parts["optimizer"], parts["schedule"], bool((info.context or {}).get(RECORDED)))
        return {**values, **parts}


def _written_out(value: Any, default: str) -> Any:
    """A bare name, or a mapping without one, as a mapping with its name."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Part):
        value = value.model_dump(exclude_unset=True) | {"name": value.name}  # type: ignore[attr-defined]
    return {"name": default, **value} if isinstance(value, Mapping) else value


def _share_one_rate(optimizer: dict[str, Any], schedule: dict[str, Any], recorded: bool) -> None:
    """The one rate of a one-cycle schedule into both places; refuses two that differ.

    But for SGD's 0.01, which one-cycle always replaced: it is the default, written out.
    """
    lr, top = optimizer.get("lr"), schedule.get("max_lr")
    if top is None:
        default = Adam.model_fields["lr"].default if optimizer["name"] in ("adam", "adamw") else ONE_CYCLE_LR
        top = default if lr is None else lr
    elif isinstance(lr, int | float) and lr != top and not recorded and not replaced(optimizer["name"], lr):
        raise Refusal(
            "has no effect beside train.schedule.max_lr",
            key="optimizer.lr",
            got=lr,
            expected=f"one highest rate, not {lr} and {top}",
            cure=f"leave out max_lr to train at {lr}, or lr to train at {top}",
        )
    optimizer["lr"] = top
    if (
        isinstance(top, int | float) and not isinstance(top, bool) and 0 < top < 1e308
    ):  # else it is refused, once
        schedule["max_lr"] = top


def replaced(optimizer: Any, lr: Any) -> bool:
    """Whether a rate beside a ``max_lr`` is only the default written out."""
    return bool(optimizer == "sgd" and lr == SGD.model_fields["lr"].default)
