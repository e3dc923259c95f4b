"""From the arguments and options of ``run`` to a study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regulab.config import Data, Study, build_study, load_mapping, override
from regulab.errors import UserError

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
    """The study file, changed by KEY=VALUE overrides in their order, then by the options.

    A dataset other than the study's own joins the study's name (``l1-l2-mnist``), unless an override
    names the study: so each dataset gets a run directory of its own. Raises `UserError`.
    """
    studies, overrides = _sorted(arguments)
    if len(studies) > 1:
        raise UserError("one study at a time", got=" ".join(studies), expected="[STUDY] [KEY=VALUE …]")
    content, where = load_mapping(studies[0] if studies else DEFAULT_STUDY)
    content.pop("resolved", None)
    own_data = _data_name(content)
    for assignment in overrides:
        override(content, assignment)
    if data is not None:
        _set(content, "data.name", data)
        if data != own_data and not any(assignment.partition("=")[0] == "name" for assignment in overrides):
            label = Path(data.removeprefix("folder:")).name if data.startswith("folder:") else data
            content["name"] = f"{content.get('name', DEFAULT_STUDY)}-{label}"
    if protocol is not None:
        _set(content, "protocol.kind", protocol)
    if epochs is not None:
        _set(content, "train.epochs", epochs)
    if seeds is not None:
        content["seeds"] = parsed_seeds(seeds)
    if arms is not None:
        content["arms"] = _chosen_arms(content, arms, where)
    return build_study(content, where)


def _sorted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Studies and overrides: what has an ``=`` is an override, unless a file has that name."""
    studies: list[str] = []
    overrides: list[str] = []
    for argument in arguments:
        (overrides if "=" in argument and not Path(argument).is_file() else studies).append(argument)
    return studies, overrides


def parsed_seeds(text: str) -> int | list[int]:
    """``5`` is a count; ``0,3,7`` and ``5,`` are lists."""
    try:
        if "," in text:
            return [int(part) for part in text.removesuffix(",").split(",")]
        return int(text)
    except ValueError:
        raise UserError(
            "not seeds", got=text, expected="a count such as 5 or a list such as 0,3,7", where="--seeds"
        ) from None


def _chosen_arms(content: dict[str, Any], text: str, where: str) -> dict[str, Any]:
    arms = content.get("arms", Study().arms)
    chosen = [name.strip() for name in text.split(",")]
    for name in chosen:
        if name not in arms:
            raise UserError(
                "unknown arm", got=name, expected=f"some of {', '.join(arms)}", where=f"{where}: --arms"
            )
    baseline = content.get("baseline", Study().baseline)
    if baseline not in chosen:
        raise UserError(
            "the baseline must be among the arms",
            got=text,
            expected=f"{baseline},{text}",
            where=f"{where}: --arms",
        )
    return {name: arms[name] for name in chosen}


def _data_name(content: dict[str, Any]) -> Any:
    data = content.get("data", {})
    return data.get("name", Data().name) if isinstance(data, dict) else data


def _set(content: dict[str, Any], key: str, value: str | int) -> None:
    override(content, f"{key}={json.dumps(value, ensure_ascii=False)}")
