"""The study file: frozen, validated configuration; YAML in, resolved YAML out.

Everything here is plain data. What an arm's techniques mean is known to `regulab.techniques`, which
checks their values; this module checks the rest.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from regulab.errors import UserError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
DropoutRate = Annotated[float, Field(ge=0, le=0.999, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
MOST_SEEDS = 10_000
# Parts that a bare name stands for: ``data: mnist`` is ``data: {name: mnist}``.
NAMED_BY = {"data": "name", "model": "name", "optimizer": "name", "schedule": "name", "protocol": "kind"}


class Part(BaseModel):
    """A frozen piece of configuration that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class Data(Part):
    """Which images, and what happens to every one of them in every arm.

    ``train_images``: so many of the training part, stratified by class, the same for every seed; null takes all.
    ``normalize``: to mean 0 and deviation 1 over the training part, per channel (``dataset``) or per pixel and channel
    (``pixel``), or not at all.
    """

    name: str = "digits"
    train_images: Count | None = None
    normalize: Literal["dataset", "pixel", "none"] = "dataset"
    augment: dict[str, Any] = {}


class Protocol(Part):
    """Which images train, validate and test.

    ``holdout`` cuts validation from the training split: ``validation`` images, or that fraction of
    them; null leaves the choice to the dataset. ``course`` validates on the test split, as the
    assignment does.
    """

    kind: Literal["holdout", "course"] = "holdout"
    validation: float | None = None

    @field_validator("validation")
    @classmethod
    def _count_or_fraction(cls, value: float | None) -> float | None:
        if value is not None and (value <= 0 or (value >= 1 and value != int(value))):
            raise ValueError("a count of images (1, 2, …) or a fraction between 0 and 1")
        return value


class Model(Part):
    """The network: a registered one, or a person's own as ``FILE.py:NAME``.

    ``norm`` stands before or after each ReLU (``norm_position``). ``depth`` is the number of blocks of a network
    that has a free choice of it. ``dropout`` is the rate of all its dropout layers, in every arm. A person's
    own network keeps the rates of its layers unless one is given here.
    """

    name: str = "cnn10k"
    norm: str = "batch"
    norm_position: Literal["before", "after"] = "before"
    depth: Annotated[int, Field(ge=1, le=200)] | None = None
    dropout: DropoutRate | None = 0.05

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


class SGD(Part):
    name: Literal["sgd"] = "sgd"
    lr: Positive = 0.01
    momentum: Fraction = 0.9
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Adam(Part):
    """Adam; ``adamw`` is the same update, whose decoupled decay is the technique ``weight_decay``."""

    name: Literal["adam", "adamw"] = "adam"
    lr: Positive = 1e-3
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8


class Constant(Part):
    name: Literal["constant"] = "constant"


class Step(Part):
    """Multiplies the learning rate by ``factor`` after every ``every`` epochs."""

    name: Literal["step"] = "step"
    every: Count = 10
    factor: Positive = 0.1


class Cosine(Part):
    """Half a cosine from the optimizer's rate to ``final_lr``, after ``warmup`` epochs of linear rise."""

    name: Literal["cosine"] = "cosine"
    final_lr: NonNegative = 0.0
    warmup: NonNegative = 0.0


class OneCycle(Part):
    """Smith & Topin 2018 with cosine ramps: ``max_lr/initial_division`` up to ``max_lr`` and down again."""

    name: Literal["one_cycle"] = "one_cycle"
    max_lr: Positive = 0.1
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    initial_division: Positive = 25.0
    final_division: Positive = 1e4


class Train(Part):
    epochs: Count = 40
    batch_size: Count = 128
    optimizer: SGD | Adam = Field(default=SGD(), discriminator="name")
    schedule: Constant | Step | Cosine | OneCycle = Field(default=OneCycle(), discriminator="name")
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    engine: Literal["fleet", "plain"] = "fleet"

    @field_validator("optimizer", "schedule", mode="before")
    @classmethod
    def _a_bare_name_or_none_will_do(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and "name" not in value:
            return {"name": {"optimizer": "sgd", "schedule": "one_cycle"}[str(info.field_name)], **value}
        return value


class Endpoint(Part):
    """The number that decides, and the margin (in its units) under which a difference does not matter.

    ``balanced_accuracy`` is the mean over classes of the share of the class's test images that are right.
    """

    metric: Literal["test_accuracy", "balanced_accuracy", "test_loss"] = "test_accuracy"
    epoch: Literal["final", "best_val"] = "final"
    margin: Positive = 0.1

    @model_validator(mode="before")
    @classmethod
    def _losses_name_their_margin(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("metric") == "test_loss" and "margin" not in values:
            raise ValueError("the metric test_loss needs a margin of its own")
        return values


ASSIGNMENT_ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "l1": {"l1": 1.0e-4},
    "l2": {"l2": 1.0e-4},
    "l1+l2": {"l1": 1.0e-4, "l2": 1.0e-4},
}


class Study(Part):
    """A question: one dataset, one model, one training protocol, several arms, several seeds, one baseline.

    An arm maps names of techniques to a strength or to a mapping of their parameters. ``pairing``: the arms of a
    seed share initial weights, orders, augmentation and dropout draws (``seeds``), or every arm draws its own
    (``none``), for comparisons of identical arms and to measure what pairing is worth. ``resolved`` is
    what regulab found out when it ran (class names, legends); it is ignored on the way in.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)] = "l1-l2"
    data: Data = Data()
    protocol: Protocol = Protocol()
    model: Model = Model()
    train: Train = Train()
    endpoint: Endpoint = Endpoint()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = tuple(range(10))
    pairing: Literal["seeds", "none"] = "seeds"
    baseline: str = "none"
    arms: dict[Annotated[str, Field(min_length=1, max_length=100)], dict[str, Any]] = ASSIGNMENT_ARMS
    resolved: dict[str, Any] | None = None

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
            raise ValueError(f"baseline {self.baseline!r} is not an arm; the arms are {', '.join(self.arms)}")
        if self.protocol.kind == "course" and self.endpoint.epoch == "best_val":
            raise ValueError(
                "endpoint.epoch best_val under protocol course would choose the epoch on the test split; "
                "use epoch final or protocol holdout"
            )
        return self

    def identity(self) -> str:
        """Hash of what makes the study this study: the resolved file without seeds and findings."""
        content = self.model_dump(mode="json", exclude={"seeds", "resolved"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_yaml(self) -> str:
        content = self.model_dump(mode="json", exclude_none=True)
        content["seeds"] = list(self.seeds)
        return yaml.dump(
            content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
        )


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as people write it: ``5e-4`` is a number, and a key given twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is given twice", node.start_mark
                )
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


class _Dumper(yaml.SafeDumper):
    """Quotes texts that `_Loader` would take for numbers, such as an arm called ``1e-4``."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
        list("-+0123456789."),
    )


def parse_yaml(text: str, where: str) -> Any:
    """The value a YAML text holds; raises `UserError` naming ``where`` and the line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}" if mark else where
        raise UserError(f"not valid YAML: {getattr(error, 'problem', error)}", where=place) from error


def builtin_studies() -> dict[str, str]:
    """Names of the built-in studies and their YAML texts."""
    files = resources.files("regulab") / "studies"
    found = {
        Path(file.name).stem: file.read_text("utf-8")
        for file in files.iterdir()
        if file.name.endswith(".yaml")
    }
    return dict(sorted(found.items()))


def load_mapping(study: str) -> tuple[dict[str, Any], str]:
    """The mapping in a study file or built-in study, and where it came from (for messages)."""
    builtin = builtin_studies()
    if study in builtin:
        where, text = f"built-in study {study}", builtin[study]
    else:
        path = Path(study)
        if not path.is_file():
            raise UserError(
                "no such study", got=study, expected=f"a YAML file or one of {', '.join(builtin)}"
            )
        where = str(path)
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the study file: {error}", where=where) from error
    content = parse_yaml(text, where)
    if not isinstance(content, dict):
        raise UserError("not a study", got=type(content).__name__, expected="a mapping of keys", where=where)
    return content, where


def override(content: dict[str, Any], assignment: str) -> None:
    """Replaces in ``content`` what stood at a dotted key: ``train.epochs=5``. The value is YAML."""
    key, _, text = assignment.partition("=")
    parts = key.strip().split(".")
    if not all(parts):
        raise UserError("not an override", got=assignment, expected="KEY=VALUE, such as train.epochs=5")
    if parts[0] == "arms" and len(parts) > 1:
        content.setdefault("arms", ASSIGNMENT_ARMS)
    place = content
    for part in parts[:-1]:
        place[part] = _opened(part, place.get(part))
        place = place[part]
    place[parts[-1]] = parse_yaml(text, where=f"override {key}")


def _opened(part: str, inner: Any) -> dict[str, Any]:
    """A copy of what stands at ``part``, as a mapping; a bare name is written out first."""
    if isinstance(inner, str) and part in NAMED_BY:
        return {NAMED_BY[part]: inner}
    return dict(inner) if isinstance(inner, dict) else {}


def load_study(study: str, *overrides: str) -> Study:
    """A built-in study or study file, with overrides such as ``train.epochs=5``; raises `UserError`."""
    content, where = load_mapping(study)
    for assignment in overrides:
        override(content, assignment)
    return build_study(content, where)


def build_study(content: Mapping[str, Any], where: str = "") -> Study:
    """A validated `Study`; raises `UserError` with the first problem's key, value and rule."""
    return validate(Study, content, where)


M = TypeVar("M", bound=BaseModel)


def validate(kind: type[M], content: Any, where: str) -> M:
    """``kind`` filled from ``content``; pydantic's complaints become one `UserError`."""
    _refuse_non_finite(content, where)
    try:
        return kind.model_validate(content)
    except ValidationError as problem:
        error = problem.errors(include_url=False)[0]
        tags = {"sgd", "adam", "adamw", "constant", "step", "cosine", "one_cycle", "[key]"}
        key = ".".join(str(part) for part in error["loc"] if str(part) not in tags)
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            message = "unknown key"
        more = f" ({problem.error_count() - 1} more)" if problem.error_count() > 1 else ""
        got = error.get("input")
        shown = None if isinstance(got, Mapping | BaseModel) else got
        place = ": ".join(part for part in (where, key) if part)
        raise UserError(message + more, got=shown, where=place) from problem


def _refuse_non_finite(content: Any, where: str, path: str = "") -> None:
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(content, Mapping):
        items = content.items()
    elif isinstance(content, list | tuple):
        items = enumerate(content)
    elif isinstance(content, float) and not math.isfinite(content):
        raise UserError("not a finite number", got=content, where=": ".join(p for p in (where, path) if p))
    for key, value in items:
        _refuse_non_finite(value, where, f"{path}.{key}" if path else str(key))
