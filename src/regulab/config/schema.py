"""The study file as plain data: frozen and validated, every key with its default, range and meaning.

`regulab.techniques` knows what an arm's techniques mean and checks their values; this module checks the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from regulab.config.documents import dump_yaml
from regulab.config.factors import MOST_ARMS, factorial_arms, factors_of
from regulab.config.images import Data, Protocol
from regulab.config.metrics import BRIER, ECE, NAMES_ITS_MARGIN
from regulab.config.network import Model
from regulab.config.paths import data_path, model_path, with_path
from regulab.config.training import Train
from regulab.config.tuning import Tune, Tuned
from regulab.errors import did_you_mean
from regulab.values import (
    MOST_SEEDS,
    Part,
    Positive,
    Seed,
    Text,
)
from regulab.values.complaints import Refusal

# Parts that a bare name stands for: ``data: mnist`` is ``data: {name: mnist}``.
NAMED_BY = {
    "data": "name",
    "model": "name",
    "optimizer": "name",
    "schedule": "name",
    "protocol": "kind",
    "norm": "name",
    "weights": "file",
}
# Keys that came later: while they say nothing a study is the one that it was without them.
LATER_KEYS = {
    "data": ("group", "label_noise", "size", "fit"),
    "model": ("args", "weights", "freeze"),
    "train": ("class_weights", "sampling"),
}
LATER_PARTS = ("factors", "tune", "tuned")


class Endpoint(Part):
    """The number that decides, declared beforehand."""

    metric: Literal[
        "test_accuracy",
        "balanced_accuracy",
        "test_loss",
        "nll",
        "brier",
        "top_2_accuracy",
        "top_3_accuracy",
        "top_5_accuracy",
    ] = Field(
        default="test_accuracy",
        description="What is compared. `balanced_accuracy` is the mean over classes of the share of a class's test "
        "images that are right; `nll` the negative log-likelihood, which is `test_loss`; `brier` the squared error of "
        "the class probabilities, 0 to 2.",
    )
    epoch: Literal["final", "best_val"] = Field(
        default="final", description="Of the final weights, or of those of the best epoch on validation."
    )
    margin: Positive = Field(
        default=0.1,
        description="The difference that does not matter, in units of the metric: percentage points of accuracy. "
        "Losses and Brier scores need one of their own.",
    )

    @model_validator(mode="before")
    @classmethod
    def _losses_name_their_margin(cls, values: Any) -> Any:
        metric = values.get("metric") if isinstance(values, Mapping) else None
        if metric == ECE:
            raise Refusal(
                "ece cannot decide: its estimate is too high by what depends on the arm, so that arms that are equally "
                "calibrated differ in it",
                key="metric",
                cure="nll or brier, which calibration improves too; `regulab compare --metric ece` shows it",
            )
        if metric in NAMES_ITS_MARGIN and "margin" not in values:
            raise Refusal(
                f"the metric {metric} needs a margin of its own",
                key="metric",
                cure="write margin: 0.01" + ("" if metric == BRIER else ", in nats"),
            )
        return values

    @model_validator(mode="after")
    def _accuracies_differ_by_less_than_everything(self) -> Endpoint:
        if self.metric == BRIER and self.margin >= 2:
            raise Refusal(
                "every Brier score lies within it", key="margin", got=self.margin, expected="under 2"
            )
        if self.metric not in NAMES_ITS_MARGIN and self.margin >= 100:
            raise Refusal(
                "every accuracy lies within it", key="margin", got=self.margin, expected="under 100"
            )
        return self


ASSIGNMENT_ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "l1": {"l1": 1.0e-4},
    "l2": {"l2": 1.0e-4},
    "l1+l2": {"l1": 1.0e-4, "l2": 1.0e-4},
}


class Study(Part):
    """A question: one dataset, one model, one training protocol, several arms, several seeds, one baseline."""

    name: Text = Field(
        default="l1-l2", description="What the run directory is called, `runs/NAME`, and the report."
    )
    key: Text | None = Field(
        default=None,
        description="What every random draw is keyed by, beside the seed: a study of the same key repeats the same "
        "initial weights, orders and dropout. null: the name, so that a renamed study draws anew.",
    )
    data: Data = Field(default=Data(), description="The images; a dataset's name alone will do.")
    protocol: Protocol = Field(default=Protocol(), description="Which images train, validate and test.")
    model: Model = Field(default=Model(), description="The network; its name alone will do.")
    train: Train = Field(default=Train(), description="How every run trains.")
    endpoint: Endpoint = Field(default=Endpoint(), description="The number that decides.")
    seeds: Annotated[tuple[Seed, ...], Field(max_length=MOST_SEEDS)] = Field(
        default=tuple(range(10)), description="A count (`5`: the seeds 0 to 4) or a list (`[0, 3, 7]`)."
    )
    pairing: Literal["seeds", "none"] = Field(
        default="seeds",
        description="Whether the arms of a seed share initial weights, orders, augmentation and dropout draws, or "
        "every arm draws its own: for comparisons of identical arms, and to measure what pairing is worth.",
    )
    baseline: Text = Field(default="none", description="The arm that the others are compared with.")
    arms: Annotated[dict[Text, dict[str, Any]], Field(max_length=MOST_ARMS)] = Field(
        default=ASSIGNMENT_ARMS,
        description="From a name of your choice to techniques: each with its strength, or a mapping of its parameters.",
    )
    factors: dict[Text, dict[Text, dict[str, Any]]] | None = Field(
        default=None,
        description="In the place of `arms`: what each factor may be; every combination is an arm. A technique with a "
        "list of its values, `l1: [0, 1e-4]` (0, null and false: without it), or a name with named levels, each a "
        "mapping of techniques. The baseline is the arm of all first levels unless said otherwise.",
    )
    tune: Tune | None = Field(
        default=None,
        description="How every arm finds its strengths before the study trains, on validation and with seeds of its "
        "own; `regulab tune` does the same and writes the study that it found. null: arms are as written.",
    )
    tuned: Tuned | None = Field(
        default=None,
        description="What `tune` found, as `regulab tune` writes it: all trials, their scores, the rule.",
    )
    resolved: dict[str, Any] | None = Field(
        default=None,
        description="What regulab found out when it ran: class names, legends, hashes. Ignored on the way in.",
    )

    @model_validator(mode="before")
    @classmethod
    def _factors_make_the_arms(cls, values: Any) -> Any:
        """A resolved file has both, and they agree."""
        if not isinstance(values, Mapping) or values.get("factors") is None:
            return values
        try:
            factors = factors_of(values["factors"])
            arms = factorial_arms(factors)
        except Refusal as refused:
            refused.key = ".".join(filter(None, ["factors", refused.key]))
            raise
        made = {arm.name: arm.techniques for arm in arms}
        if values.get("arms", made) != made:
            raise Refusal(
                "factors make the arms, and arms are written too",
                key="arms",
                got=", ".join(map(str, values["arms"]))
                if isinstance(values["arms"], Mapping)
                else values["arms"],
                expected="either of them",
                cure="leave out arms, or write every arm and leave out factors",
            )
        return {"baseline": arms[0].name, **values, "factors": factors, "arms": made}

    @field_validator("data", "model", "protocol", mode="before")
    @classmethod
    def _a_bare_name_will_do(cls, value: Any, info: ValidationInfo) -> Any:
        return {NAMED_BY[str(info.field_name)]: value} if isinstance(value, str) else value

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_or_list(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if not 1 <= value <= MOST_SEEDS:
                raise ValueError(f"between 1 and {MOST_SEEDS} seeds")
            return tuple(range(value))
        if not isinstance(value, list | tuple):
            raise ValueError("neither a count such as 5 nor a list such as [0, 3, 7]")
        if not value:
            raise ValueError("at least one seed")
        if any(isinstance(seed, bool) for seed in value):
            raise ValueError("seeds are whole numbers")
        return value

    @field_validator("seeds", mode="after")
    @classmethod
    def _each_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each seed once")
        return value

    @field_validator("arms", mode="before")
    @classmethod
    def _an_empty_arm_has_no_technique(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            if not value:
                raise ValueError("at least one arm")
            return {name: {} if techniques is None else techniques for name, techniques in value.items()}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        if self.baseline not in self.arms:
            raise Refusal(
                f"baseline {self.baseline!r} is not an arm; the arms are {', '.join(self.arms)}",
                key="baseline",
                cure=did_you_mean(self.baseline, self.arms),
            )
        if self.tune is not None:
            self._tunable()
        if self.protocol.kind == "course" and self.endpoint.epoch == "best_val":
            raise Refusal(
                "best_val under protocol course would choose the epoch on the test split",
                key="endpoint.epoch",
                cure="use epoch final or protocol holdout",
            )
        return self

    def _tunable(self) -> None:
        if self.tuned is not None:
            raise Refusal(
                "tuned already",
                key="tune",
                cure="leave out tuned to tune anew, or tune to run what was found",
            )
        if self.protocol.kind == "course":
            raise Refusal(
                "tuning under protocol course would choose on the test split",
                key="tune",
                cure="use protocol holdout",
            )

    @property
    def stream_key(self) -> str:
        """What the study's streams of random numbers are keyed by."""
        return self.key or self.name

    def identity_content(self) -> dict[str, Any]:
        """What identifies the study: the resolved file without seeds and findings. Of each path only the last part
        counts: the findings have hashes of the contents, and the same files make the same study wherever they are.
        """
        content = self.model_dump(mode="json", exclude={"seeds", "resolved"}) | {"key": self.stream_key}
        for part, keys in LATER_KEYS.items():
            for key in keys:
                if content[part][key] is None:
                    del content[part][key]
        for key in LATER_PARTS:
            if content[key] is None:
                del content[key]
        if content["train"]["schedule"].get("warmup", 0) is None:
            del content["train"]["schedule"]["warmup"]
        content["data"]["name"] = _last_part(self.data.name, data_path(self.data.name))
        content["model"]["name"] = _last_part(self.model.name, model_path(self.model.name))
        if self.model.weights is not None:
            content["model"]["weights"]["file"] = _last_part(self.model.weights.file, self.model.weights.file)
        return content

    def identity(self) -> str:
        """Hash of `identity_content`."""
        return hashlib.sha256(json.dumps(self.identity_content(), sort_keys=True).encode()).hexdigest()

    def to_yaml(self) -> str:
        content = self.model_dump(mode="json", exclude_none=True)
        content["seeds"] = list(self.seeds)
        return dump_yaml(content)


def _last_part(name: str, path: str) -> str:
    """A name without the folders of the path in it."""
    return with_path(name, path, path.rstrip("/").rpartition("/")[2]) if path else name
