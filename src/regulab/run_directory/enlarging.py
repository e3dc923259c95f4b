"""A study that was begun and is given again with more arms: the same study, of which the new runs train.

Draws are keyed by the study, the seed and a purpose, never by the other arms, so an arm that is added meets the
conditions that the others met, and nothing of theirs changes. An arm that was begun stays: its verdict counts among
those that were given (`regulab.statistics.added_arms`), and leaving it out would hide that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from regulab.config import Study
from regulab.errors import UserError
from regulab.wording import listed

BEGUN_WITH = "begun_with"  # key of `resolved`: the arms before any was added
OF_ARMS = ("arms", "factors")  # parts of the study file that more arms change
# What of the findings speaks of the arms, and is found anew with more of them.
OF_FINDINGS = ("legends", "model_hash", "buffers_hash", "weight_names")


def same_or_enlarged(recorded: Study, asked: Study) -> bool:
    """Whether ``asked`` is the recorded study, or differs by further arms alone; a factorial stays one."""
    here, there = recorded.identity_content(), asked.identity_content()
    kept = {arm: there["arms"].get(arm) for arm in here["arms"]}
    return (
        kept == here["arms"]
        and ("factors" in here) == ("factors" in there)
        and all(here.get(key) == there.get(key) for key in {**here, **there} if key not in OF_ARMS)
        and (len(here["arms"]) < len(there["arms"]) or here.get("factors") == there.get("factors"))
    )


def merged(recorded: Study, asked: Study, where: str) -> Study:
    """The recorded study with the seeds and the arms of both; raises `UserError` that lists what differs, or cannot be
    kept. Where there are more arms, their order is that of ``asked``."""
    if not same_or_enlarged(recorded, asked):
        raise UserError(_differences(recorded, asked), where=where)
    seeds = recorded.seeds + tuple(seed for seed in asked.seeds if seed not in recorded.seeds)
    changes: dict[str, Any] = {"seeds": seeds, "resolved": recorded.resolved or asked.resolved}
    if len(asked.arms) > len(recorded.arms):
        changes |= {"arms": asked.arms, "factors": asked.factors}
        if recorded.resolved and asked.resolved:
            found = {key: asked.resolved[key] for key in OF_FINDINGS if key in asked.resolved}
            before = {BEGUN_WITH: list(recorded.arms), **recorded.resolved}
            changes["resolved"] = {**before, **found}
    return recorded.model_copy(update=changes)


def begun_with(study: Study) -> tuple[str, ...]:
    """The arms that a study had before any was added; all of them where none was."""
    return tuple((study.resolved or {}).get(BEGUN_WITH, study.arms))


def _differences(recorded: Study, asked: Study) -> str:
    """Every key that differs, and what can be done about it."""
    here, there = recorded.identity_content(), asked.identity_content()
    gone = [arm for arm in recorded.arms if arm not in asked.arms]
    here, there = _flattened(here), _flattened(there)
    keys = [key for key in {**here, **there} if here.get(key, "absent") != there.get(key, "absent")]
    told = [f"{key} ({here.get(key, 'absent')} here, {there.get(key, 'absent')} asked for)" for key in keys]
    cures = ["choose another --out, or --fresh to start over"]
    if gone:
        cures.insert(
            0, f"an arm that was begun stays in its study, as its verdict counts: keep {listed(gone)}"
        )
    elif any(key.partition(".")[2].startswith(_within(recorded.arms)) for key in keys if key[:5] == "arms."):
        cures.insert(
            0, "an arm that was begun stays as it is: write the other one beside it, under a new name"
        )
    if "baseline" in keys:
        cures.insert(0, "`regulab compare --baseline` compares with another arm")
    return f"belongs to another study: {', '.join(told)}; {'; '.join(cures)}"


def _within(arms: Iterable[str]) -> tuple[str, ...]:
    """How the flattened keys of these arms' techniques begin."""
    return tuple(f"{arm}." for arm in arms)


def _flattened(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        inner = _flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {}
        flat.update(inner or {f"{prefix}{key}": value})
    return flat
