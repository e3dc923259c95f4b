"""The regularization techniques, one a file, and the arms that are made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from regulab.config import Model, Source, Study, validate
from regulab.config.teachers import before, check_teachers
from regulab.config.tuning import tuning_words
from regulab.errors import UserError
from regulab.models import named, norm_of
from regulab.optimizers.optimizer import Optimizer
from regulab.registry import catalogue, lookup
from regulab.techniques.adding import without_replaced
from regulab.techniques.augmentation import Augmentation
from regulab.techniques.chosen_points import refuse_other_points
from regulab.techniques.distillation import Distillation
from regulab.techniques.dropout import Dropout
from regulab.techniques.early_stopping import EarlyStopping
from regulab.techniques.label_smoothing import LabelSmoothing
from regulab.techniques.late import Late
from regulab.techniques.norm import Normalization
from regulab.techniques.technique import Edit, Hooks, Present, Stage, Technique

TECHNIQUES: dict[str, type[Technique]] = catalogue("regulab.techniques", Technique)


def parse(name: str, value: Any, where: str) -> Technique:
    """A technique from what a study file says of it: a strength, or a mapping of its parameters."""
    kind: type[Technique] = lookup(TECHNIQUES, name, "technique", f"{where}.{name}" if where else name)
    place = Source(f"{where}.{name}" if where else name, is_key=True)
    if isinstance(value, Mapping):
        return validate(kind, value, place)
    field, usual = kind.model_fields[kind.scalar], getattr(kind.examples()[0], kind.scalar)
    number = not isinstance(usual, str)
    if isinstance(value, bool) or not isinstance(value, int | float if number else str):
        needed = "1e-4" if number else usual
        example = needed if field.is_required() else field.default
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
        shared = without_replaced(shared, own, f"arms.{arm}")
        arms[arm] = tuple({**shared, **own}.values())
        where = f"arms.{arm}" if study.factors is None else f"factors, arm {arm}"
        _refuse_contradictions(arms[arm], where)
        _refuse_proximal_steps(arms[arm], study.train.optimizer, where)
        if study.resolved is None:  # of what is on record, what never began has trained as it did
            _refuse_too_late(arms[arm], study.train.epochs, where)
            _refuse_unused_labels(arms[arm], where)
    check_teachers(taught_by(arms), arms)
    if study.tuned is not None and study.resolved is None:
        refuse_other_points(study.tuned, arms)
    return arms


def taught_by(arms: Mapping[str, Sequence[Technique]]) -> dict[str, str]:
    """Of each arm that learns from another: from which."""
    pairs = ((arm, t) for arm, techniques in arms.items() for t in techniques)
    return {arm: t.teacher for arm, t in pairs if isinstance(t, Distillation)}


def _check_factors(study: Study) -> None:
    """Raises `UserError` where a level is wrong, or says what another says in other words: ``{kind: batch}``."""
    for factor, levels in (study.factors or {}).items():
        seen: dict[str, list[Technique]] = {}
        for level, techniques in levels.items():
            listed = [*techniques] == [factor]
            place = "factors" if listed else f"factors.{factor}.{level}"
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


def _refuse_too_late(techniques: Sequence[Technique], epochs: int, where: str) -> None:
    """Raises `UserError` where a technique would begin after the last epoch."""
    for technique in techniques:
        if isinstance(technique, Late) and technique.first_epoch(epochs) > epochs:
            raise UserError(
                f"has no effect: it begins after the last of {epochs} epochs",
                got=technique.first_epoch(epochs),
                expected=f"at most {epochs}, or more epochs",
                where=f"{where}.{technique.name}.start",
            )


def _refuse_unused_labels(techniques: Sequence[Technique], where: str) -> None:
    """Raises `UserError` where labels are smoothed and play no part."""
    given = {technique.name: technique for technique in techniques}
    distillation, smoothing = given.get(Distillation.name), given.get(LabelSmoothing.name)
    if not isinstance(distillation, Distillation) or not isinstance(smoothing, LabelSmoothing):
        return
    if distillation.weight == 1 and smoothing.epsilon > 0:
        raise UserError(
            "has no effect: with distillation weight 1 the loss is the teacher's alone, and labels play no part",
            got=f"label_smoothing {smoothing.epsilon:g} beside distillation weight 1",
            expected="a distillation weight below 1, or no label_smoothing",
            where=f"{where}.{smoothing.name}",
        )


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


def _refuse_proximal_steps(techniques: Sequence[Technique], optimizer: Optimizer, where: str) -> None:
    """Raises `UserError` for a technique with a proximal step after an optimizer that has no use for one."""
    for technique in techniques if not optimizer.proximal else ():
        if technique.stack([technique]).makes_zeros:
            cure = "method: subgradient" if "method" in type(technique).model_fields else "sgd, adam or adamw"
            raise UserError(
                f"takes a proximal step, which after {optimizer.name} does not lead to the penalty's minimum: "
                "its steps are as long whatever the gradient",
                got=f"optimizer {optimizer.name}",
                expected=cure,
                where=f"{where}.{technique.name}",
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
    """What runs have in common that can train side by side: the network, and how a step evaluates it.

    ``evaluates`` names the techniques that evaluate a step again. Of runs with SAM and runs with ASAM each would pay
    for the other's. ``generation``: how many arms must have trained before, each the teacher of the next.
    """

    model: Model
    edits: tuple[Edit, ...]
    passes: int
    evaluates: tuple[str, ...]
    copies: int
    double_backward: bool
    generation: int = 0


def architecture_of(study: Study, techniques: Sequence[Technique], generation: int = 0) -> Architecture:
    """Of an arm."""
    edits = tuple(_shared_by_runs(technique) for technique in techniques if isinstance(technique, Edit))
    return Architecture(
        model_of(study, techniques),
        edits,
        passes=1 + sum(technique.passes - 1 for technique in techniques),
        evaluates=tuple(sorted(technique.name for technique in techniques if technique.passes > 1)),
        copies=max((technique.copies for technique in techniques), default=1),
        double_backward=any(technique.double_backward for technique in techniques),
        generation=generation,
    )


def _shared_by_runs(edit: Edit) -> Edit:
    """An edit with the defaults of what each run has a value of its own of."""
    return edit.model_copy(update={name: type(edit).model_fields[name].default for name in edit.per_run})


def legends(study: Study, arms: Mapping[str, tuple[Technique, ...]] | None = None) -> dict[str, str]:
    """For each arm a text that names its own techniques with their strengths, and what the baseline still contains.

    ``arms``: those of the study, where they are parsed already.
    """
    texts, arms = {}, arms or arms_of(study)
    teachers = taught_by(arms)
    for arm, techniques in arms.items():
        own = [t.legend() for t in techniques if t.name in study.arms[arm]]
        stops = any(EarlyStopping.name in study.arms[one] for one in (arm, *before(arm, teachers)))
        selected = study.train.schedule.follows_validation or stops
        common = [t.legend() for t in techniques if t.name not in study.arms[arm] and t != Dropout(rate=0)]
        bare = "no regularization" if study.model.dropout is not None else "no regularization by regulab"
        rest = f"only {', '.join(common)}" if common else bare
        said = own or [rest]
        if study.protocol.kind == "course" and selected:
            said.append("selected on the test split")
        if study.tuned is not None and (words := tuning_words(study.tuned, arm)):
            said.append(words)
        texts[arm] = f"{arm} ({', '.join(said)})"
    return texts


def stack(arms: Sequence[tuple[Technique, ...]]) -> dict[str, Hooks]:
    """The hooks of R runs, given each run's techniques: one `Hooks` for each technique that any of them has.

    Stage by stage, and in each by name: SAM stands before clipping, whatever the alphabet.
    """
    hooks = {}
    for name in _in_order():
        kind = TECHNIQUES[name]
        values = [next((t for t in techniques if t.name == name), None) for techniques in arms]
        if any(value is not None for value in values):
            present = Present([value is not None for value in values])
            hooks[name] = replace(kind.stack(values), present=present)
    return hooks


def _in_order() -> list[str]:
    """The names stage by stage, in each as the alphabet has them, but behind those that `Technique.after` names."""
    names = list(TECHNIQUES)
    for name, kind in TECHNIQUES.items():
        last = max((names.index(other) for other in kind.after), default=-1)
        if last > names.index(name):
            names.insert(last, names.pop(names.index(name)))
    return sorted(names, key=lambda name: get_args(Stage).index(TECHNIQUES[name].stage))


def transforms(hooks: Mapping[str, Hooks]) -> Iterator[Hooks]:
    """Those that change the gradients of the loss, in their order."""
    return (one for one in hooks.values() if one.transform is not None or one.noise is not None)
