"""From the arguments and options of ``run`` to a study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regulab.config import MOST_SEEDS, Data, Source, Study, build_study, load_mapping, override
from regulab.config.effects import settle
from regulab.config.loading import is_file, put_key
from regulab.config.paths import data_path, with_format
from regulab.config.teachers import before, teachers_of
from regulab.errors import UserError, did_you_mean

DEFAULT_STUDY = "l1-l2"


def assembled_study(
    arguments: Sequence[str],
    *,
    data: str | None = None,
    protocol: str | None = None,
    epochs: int | None = None,
    seeds: str | None = None,
    arms: str | None = None,
) -> Study:
    """The study of `assembled`, for callers who do not need to know where its values came from."""
    return assembled(arguments, data=data, protocol=protocol, epochs=epochs, seeds=seeds, arms=arms)[0]


def assembled(
    arguments: Sequence[str],
    *,
    data: str | None = None,
    protocol: str | None = None,
    epochs: int | None = None,
    seeds: str | None = None,
    arms: str | None = None,
) -> tuple[Study, Source]:
    """The study file, changed by KEY=VALUE overrides in their order, then by the options; and where each value is from.

    A dataset other than the study's own joins the study's name (``l1-l2-mnist``), unless an override
    names the study: so each dataset gets a run directory of its own. Raises `UserError`.
    """
    studies, overrides = _sorted([decoded(argument) for argument in arguments])
    if len(studies) > 1:
        raise UserError("one study at a time", got=" ".join(studies), expected="[STUDY] [KEY=VALUE …]")
    content, source = load_mapping(studies[0] if studies else DEFAULT_STUDY)
    content.pop("resolved", None)
    own_data = _data_name(content)
    for assignment in overrides:
        override(content, assignment, source)
    if data is not None:
        data = with_format(decoded(data))
        put_key(content, "data.name", data, source, "--data")
        if data != own_data and not any(assignment.partition("=")[0] == "name" for assignment in overrides):
            label = Path(data_path(data)).name if data_path(data) else data
            content["name"] = f"{content.get('name', DEFAULT_STUDY)}-{label}"
    if protocol is not None:
        put_key(content, "protocol.kind", protocol, source, "--protocol")
    if epochs is not None:
        put_key(content, "train.epochs", epochs, source, "--epochs")
    if seeds is not None:
        put_key(content, "seeds", parsed_seeds(seeds), source, "--seeds")
    if arms is not None:
        _write_out_factors(content, source)
        content["arms"] = _chosen_arms(content, decoded(arms), source)
    return build_study(settle(content, source), source), source


def decoded(argument: str) -> str:
    """An argument as UTF-8, whatever the locale: Python hands over bytes that a C locale cannot read as surrogates."""
    if not any("\ud800" <= character <= "\udfff" for character in argument):
        return argument
    try:
        return os.fsencode(argument).decode()
    except UnicodeError:
        raise UserError("an argument that is no UTF-8 text", got=argument) from None


def _sorted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Studies and overrides: what has an ``=`` is an override, unless a file has that name."""
    studies: list[str] = []
    overrides: list[str] = []
    for argument in arguments:
        (overrides if "=" in argument and not is_file(argument) else studies).append(argument)
    return studies, overrides


def parsed_seeds(text: str) -> int | list[int]:
    """``5`` is a count; ``0,3,7`` and ``5,`` are lists."""
    expected = "a count such as 5 or a list such as 0,3,7"
    try:
        if "," in text:
            parts = text.removesuffix(",").split(",")
            if len(parts) > MOST_SEEDS:
                raise UserError(
                    "too many seeds", got=len(parts), expected=f"at most {MOST_SEEDS}", where="--seeds"
                )
            return [int(part) for part in parts]
        return int(text)
    except ValueError:
        raise UserError("not seeds", got=text, expected=expected, where="--seeds") from None


def _write_out_factors(content: dict[str, Any], source: Source) -> None:
    """The arms that factors make, in their place: some of them are no factorial any more, or a smaller one."""
    if content.get("factors") is None:
        return
    study = build_study(settle(content, source), source)
    if study.factors is not None:
        content.update(arms=dict(study.arms), baseline=study.baseline)
    content.pop("factors")


def _chosen_arms(content: dict[str, Any], text: str, source: Source) -> Any:
    arms = content.get("arms", Study().arms)
    if not isinstance(arms, dict):
        return arms  # refused for what it is
    chosen = [name.strip() for name in text.split(",")]
    for name in chosen:
        if name not in arms:
            raise UserError(
                "unknown arm",
                got=name,
                expected=f"some of {', '.join(arms)}",
                where=f"{source}: --arms",
                cure=did_you_mean(name, arms),
            )
    baseline = content.get("baseline", Study().baseline)
    if baseline not in chosen:
        raise UserError(
            "the baseline must be among the arms",
            got=text,
            expected=f"{baseline},{text}",
            where=f"{source}: --arms",
        )
    _teachers_are_chosen(arms, chosen, text, source)
    return {name: arms[name] for name in chosen}


def _teachers_are_chosen(arms: dict[str, Any], chosen: list[str], text: str, source: Source) -> None:
    """An arm that learns from another needs that one, and nothing is trained that nobody asked for."""
    teachers = teachers_of(arms)
    for name in chosen:
        missing = [teacher for teacher in before(name, teachers) if teacher in arms and teacher not in chosen]
        if missing:
            raise UserError(
                f"{name} learns from {' and '.join(missing)}, which must be among the arms",
                got=text,
                expected=f"{','.join(reversed(missing))},{text}",
                where=f"{source}: --arms",
            )


def _data_name(content: dict[str, Any]) -> Any:
    data = content.get("data", {})
    return data.get("name", Data().name) if isinstance(data, dict) else data
