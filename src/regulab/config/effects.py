"""What is written but has no effect: refused in a file, settled where the command line overrides it.

The command line takes precedence over the file. So what a file says about the rate, validation, a margin or dropout is
dropped where the command line asks for another rate, protocol, metric or network; and nothing on the command line is
without effect.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from regulab.config.images import Protocol
from regulab.config.paths import is_user_model
from regulab.config.schema import NAMED_BY, Endpoint
from regulab.config.training import DEFAULT_NAMES, Train
from regulab.errors import UserError
from regulab.optimizers import OPTIMIZERS
from regulab.schedules import SCHEDULES
from regulab.schedules.one_cycle import OneCycle, only_the_default
from regulab.schedules.schedule import Schedule
from regulab.values import Part
from regulab.values.sources import COMMAND, Source


def settle(content: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """The content without what the command line made moot. Warns about what is not used, and refuses what would
    mislead."""
    settled = dict(content)
    _arms_or_factors(settled, source)
    for part in ("train", "protocol", "endpoint", "model"):
        settled[part] = _opened(settled.get(part, {}), NAMED_BY.get(part))
        if settled[part] == {}:
            del settled[part]
    train = settled.get("train")
    if isinstance(train, dict):
        for part in DEFAULT_NAMES:
            if part in train:
                train[part] = _opened(train[part], "name")
        _one_rate(train, source)
        _schedule_takes_effect(train, source)
        _decay_is_a_technique(train, _all_arms(settled))
    _drop_what_belongs_to_another(settled, source, Protocol, "protocol.kind", "validation")
    _drop_what_belongs_to_another(settled, source, Endpoint, "endpoint.metric", "margin")
    _own_network_keeps_its_rates(settled, source)
    return settled


def _arms_or_factors(settled: dict[str, Any], source: Source) -> None:
    """The command line's arms or factors take the place of whichever the file has, its baseline with them."""
    if settled.get("arms") is None or settled.get("factors") is None:
        return
    arms, factors = source.says("arms"), source.says("factors")
    if arms == factors:  # a resolved file has both
        return
    del settled["factors" if arms else "arms"]
    if factors and not source.says("baseline"):
        settled.pop("baseline", None)


def _all_arms(settled: Mapping[str, Any]) -> Any:
    """Arms, or the levels of factors, by any name: what techniques there are."""
    factors = settled.get("factors")
    if not isinstance(factors, Mapping):
        return settled.get("arms")
    listed = {name: {name: levels} for name, levels in factors.items() if not isinstance(levels, Mapping)}
    named = [levels for levels in factors.values() if isinstance(levels, Mapping)]
    return {
        **listed,
        **{f"{place}.{name}": level for place, one in enumerate(named) for name, level in one.items()},
    }


def _opened(value: Any, named_by: str | None) -> Any:
    """A copy, with a bare name written out."""
    if isinstance(value, str) and named_by:
        return {named_by: value}
    return dict(value) if isinstance(value, Mapping) else value


def _one_rate(train: dict[str, Any], source: Source) -> None:
    optimizer, schedule = train.get("optimizer", {}), train.get("schedule", {})
    if not (isinstance(optimizer, dict) and isinstance(schedule, dict)):
        return
    lr, top = optimizer.get("lr"), schedule.get("max_lr")
    if lr is None or top is None or lr == top or schedule.get("name", OneCycle.name) != OneCycle.name:
        return
    ranks = source.rank("train.optimizer.lr"), source.rank("train.schedule.max_lr")
    if ranks[0] > ranks[1]:
        del schedule["max_lr"]
    elif ranks[0] < ranks[1]:
        del optimizer["lr"]
    elif not source.recorded and _is_default(optimizer.get("name", DEFAULT_NAMES["optimizer"]), lr):
        if ranks[0] == COMMAND:
            raise UserError(
                "has no effect beside train.schedule.max_lr", got=lr, where=source.at("train.optimizer.lr")
            )
        warnings.warn(
            f"{source.at('train.optimizer.lr')}: {lr} is not used: one_cycle rises to max_lr {top}; lr can go",
            stacklevel=2,
        )


def _is_default(optimizer: Any, lr: Any) -> bool:
    return (
        isinstance(optimizer, str) and optimizer in OPTIMIZERS and only_the_default(OPTIMIZERS[optimizer], lr)
    )


def _schedule_takes_effect(train: dict[str, Any], source: Source) -> None:
    """A change of the rate that comes after the last epoch, or a warm-up that never ends."""
    schedule, epochs = _valid_schedule(train), train.get("epochs", Train.model_fields["epochs"].default)
    whole = type(epochs) is int or (
        isinstance(epochs, float) and epochs.is_integer()
    )  # a switch is no number
    if schedule is None or not whole:  # what is no number of epochs is refused in words of its own
        return
    idle = schedule.without_effect(int(epochs))
    if idle is None:
        return
    where, got = source.at(f"train.schedule.{idle.key}"), getattr(schedule, idle.key)
    if source.rank("train.epochs") > source.rank(f"train.schedule.{idle.key}"):
        warnings.warn(f"{where}: {idle.what} within {epochs} epochs: {idle.key} is {got}", stacklevel=2)
    else:
        raise UserError(
            f"has no effect: {idle.what} within {epochs} epochs",
            got=list(got) if isinstance(got, tuple) else got,
            expected=f"under {idle.under}" if idle.under > 1 else "more epochs",
            where=where,
        )


def _valid_schedule(train: Mapping[str, Any]) -> Schedule | None:
    """The schedule that is written, or None where there is none or it will be refused."""
    written = train.get("schedule")
    name = written.get("name") if isinstance(written, dict) else None
    if not isinstance(name, str) or name not in SCHEDULES:
        return None
    try:
        return SCHEDULES[name].model_validate(written)
    except ValidationError:
        return None


def _decay_is_a_technique(train: dict[str, Any], arms: Any) -> None:
    optimizer = train.get("optimizer")
    if not isinstance(optimizer, dict) or optimizer.get("name") != "adamw" or not isinstance(arms, Mapping):
        return
    if not any(isinstance(arm, Mapping) and "weight_decay" in arm for arm in arms.values()):
        warnings.warn(
            "train.optimizer: adamw decays nothing here: write an arm such as `decay: {weight_decay: 0.01}`",
            stacklevel=2,
        )


def _drop_what_belongs_to_another(
    settled: dict[str, Any], source: Source, kind: type[Part], key: str, moot: str
) -> None:
    """What a file says of ``moot`` is of the protocol or metric that it names, not of another of the command's."""
    part, _, name = key.partition(".")
    values = settled.get(part)
    if (
        not isinstance(values, dict)
        or moot not in values
        or source.rank(key) <= source.rank(f"{part}.{moot}")
    ):
        return
    before = source.before.get(key)
    if values.get(name) != (kind.model_fields[name].default if before is None else before):
        del values[moot]


def _own_network_keeps_its_rates(settled: dict[str, Any], source: Source) -> None:
    model = settled.get("model")
    if not isinstance(model, dict) or model.get("dropout") is None or not is_user_model(model.get("name")):
        return
    if source.rank("model.name") > source.rank("model.dropout"):
        rate = model.pop("dropout")
        warnings.warn(
            f"{source.name}: its model.dropout {rate} is left out, since {model['name']} is another network, which "
            f"keeps its own rates; model.dropout={rate} sets them all",
            stacklevel=2,
        )
