"""The regularization techniques, one a file, and the arms that are made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from regulab.config import Model, Source, Study, validate
from regulab.errors import UserError
from regulab.models import named, norm_of
from regulab.registry import catalogue, lookup
from regulab.techniques.augmentation import Augmentation
from regulab.techniques.dropout import Dropout
from regulab.techniques.early_stopping import EarlyStopping
from regulab.techniques.norm import Normalization
from regulab.techniques.technique import Edit, Hooks, Present, Stage, Technique

TECHNIQUES: dict[str, type[Technique]] = catalogue("regulab.techniques", Technique)


def parse(name: str, value: Any, where: str) -> Technique:
    """A technique from what a study file says of it: a strength, or a mapping of its parameters."""
    kind: type[Technique] = lookup(TECHNIQUES, name, "technique", f"{where}.{name}" if where else name)
    place = Source(f"{where}.{name}" if where else name, is_key=True)
    if isinstance(value, Mapping):
        return validate(kind, value, place)
    number = kind.model_fields[kind.scalar].annotation is not str
    if isinstance(value, bool) or not isinstance(value, int | float if number else str):
        example = 5 if kind.model_fields[kind.scalar].annotation is int else "1e-4" if number else "batch"
        raise UserError(
            f"neither a {'number' if number else 'name'} nor a mapping",
            got=value,
            expected=f"{kind.scalar} or {{…}}",
            where=place.name,
            cure=f"write `{{{name}: {example}}}`",
        )
    return validate(kind, {kind.scalar: value}, place)


def arms_of(study: Study) -> dict[str, tuple[Technique, ...]]:
    """Each arm's techniques: the study's own dropout and augmentation, replaced by what the arm itself says."""
    _check_factors(study)
    common: dict[str, Technique] = {}
    if study.model.dropout is not None:
        common[Dropout.name] = Dropout(rate=study.model.dropout)
    if study.data.augment:
        place = Source("data.augment", is_key=True)
        common[Augmentation.name] = validate(Augmentation, study.data.augment, place)
    arms = {}
    for arm, techniques in study.arms.items():
        own = {name: parse(name, value, f"arms.{arm}") for name, value in techniques.items()}
        replaced = {name for technique in own.values() for name in technique.instead_of}
        shared = {name: value for name, value in common.items() if name not in replaced}
        arms[arm] = tuple({**shared, **own}.values())
        _refuse_contradictions(arms[arm], f"arms.{arm}" if study.factors is None else f"factors, arm {arm}")
    return arms


def _check_factors(study: Study) -> None:
    """Raises `UserError` where a level is wrong, or says what another says in other words: ``{kind: batch}``."""
    for factor, levels in (study.factors or {}).items():
        seen: dict[str, list[Technique]] = {}
        for level, techniques in levels.items():
            place = (
                "factors" if [*techniques] == [factor] else f"factors.{factor}.{level}"
            )  # of a list, or named
            parsed = [parse(name, value, place) for name, value in techniques.items()]
            same = next((name for name, other in seen.items() if other == parsed), None)
            if same is not None:
                raise UserError(
                    f"two levels are the same: {same} and {level}",
                    got=", ".join(technique.legend() for technique in parsed) or "no technique",
                    expected="each once",
                    where=f"factors.{factor}",
                )
            seen[level] = parsed


def _refuse_contradictions(techniques: Sequence[Technique], where: str) -> None:
    """Raises `UserError` where one technique of an arm excludes another."""
    for technique in techniques:
        for other in techniques:
            if other.name in technique.excludes:
                raise UserError(
                    f"{technique.name} and {other.name} contradict each other: {technique.excludes[other.name]}",
                    got=f"{technique.name} and {other.name}",
                    expected="one of them in an arm",
                    where=where,
                )


def model_of(study: Study, techniques: Sequence[Technique]) -> Model:
    """The model of an arm: the study's, with the arm's own norm if it has one."""
    norm = next((t for t in techniques if isinstance(t, Normalization)), None)
    if norm is None:
        model = study.model
        return (
            model
            if isinstance(model.norm, str)
            else model.model_copy(update={"norm": named(norm_of(model.norm))})
        )
    position = norm.position or study.model.norm_position
    return study.model.model_copy(update={"norm": named(norm.norm()), "norm_position": position})


@dataclass(frozen=True)
class Architecture:
    """What runs have in common that can train side by side: the network, and how often a step evaluates it."""

    model: Model
    edits: tuple[Edit, ...]
    passes: int


def architecture_of(study: Study, techniques: Sequence[Technique]) -> Architecture:
    """Of an arm."""
    edits = tuple(technique for technique in techniques if isinstance(technique, Edit))
    passes = 1 + sum(technique.passes - 1 for technique in techniques)
    return Architecture(model_of(study, techniques), edits, passes)


def legends(study: Study, arms: Mapping[str, tuple[Technique, ...]] | None = None) -> dict[str, str]:
    """For each arm a text that names its own techniques with their strengths, and what the baseline still contains.

    ``arms``: those of the study, where they are parsed already.
    """
    texts = {}
    for arm, techniques in (arms or arms_of(study)).items():
        own = [t.legend() for t in techniques if t.name in study.arms[arm]]
        selected = study.train.schedule.follows_validation or EarlyStopping.name in study.arms[arm]
        common = [t.legend() for t in techniques if t.name not in study.arms[arm] and t != Dropout(rate=0)]
        bare = "no regularization" if study.model.dropout is not None else "no regularization by regulab"
        rest = f"only {', '.join(common)}" if common else bare
        said = own or [rest]
        if study.protocol.kind == "course" and selected:
            said.append("selected on the test split")
        texts[arm] = f"{arm} ({', '.join(said)})"
    return texts


def stack(arms: Sequence[tuple[Technique, ...]]) -> dict[str, Hooks]:
    """The hooks of R runs, given each run's techniques: one `Hooks` for each technique that any of them has."""
    hooks = {}
    for name, kind in TECHNIQUES.items():
        values = [next((t for t in techniques if t.name == name), None) for techniques in arms]
        if any(value is not None for value in values):
            present = Present([value is not None for value in values])
            hooks[name] = replace(kind.stack(values), present=present)
    return hooks


def transforms(hooks: Mapping[str, Hooks]) -> Iterator[Hooks]:
    """Those that transform gradients, stage by stage; SAM stands before clipping, whatever the alphabet."""
    for stage in get_args(Stage):
        for name, one in hooks.items():
            if one.transform is not None and TECHNIQUES[name].stage == stage:
                yield one
