"""The trials as a study of their own: each arm at each of its points, on seeds and draws that the study never uses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from regulab.config import Protocol, Study
from regulab.config.tuning import Choice
from regulab.errors import UserError
from regulab.streams import Streams
from regulab.tuning.space import Dimension, dimensions
from regulab.wording import named

LONGEST = 90  # characters of an arm's name, so that a trial's number fits behind it
Point = dict[str, Choice]


def points(study: Study) -> dict[str, list[Point]]:
    """For each arm the points that it tries, by keys of its ranges; of an arm with nothing to tune the one it is.

    The points are of one scrambled Sobol sequence over everything that is tuned of any arm, and each arm takes the
    coordinates that it has: all arms try the same learning rates, and ``l1+l2`` the strengths of ``l1`` and of ``l2``.
    They stand weakest first, by the mean place of their techniques' values within the ranges, the learning rate aside.
    Scrambling is keyed by the study. Source: Sobol' 1967; scrambled as Matoušek 1998 does, by `scipy.stats.qmc`.
    """
    tune, space = study.tune, dimensions(study)
    assert tune is not None
    keys = list(dict.fromkeys(one.key for own in space.values() for one in own))
    drawn = quasi_random(tune.trials, len(keys), Streams(study.stream_key, 0))
    return {arm: _points_of(own, keys, drawn) for arm, own in space.items()}


def quasi_random(count: int, dimensions: int, streams: Streams) -> NDArray[np.float64]:
    """``(count, dimensions)`` in [0, 1): the first of a Sobol sequence whose scrambling follows from the streams."""
    sobol = qmc.Sobol(dimensions, scramble=True, seed=streams.generator("tune"))
    found: NDArray[np.float64] = sobol.random_base2(math.ceil(math.log2(count)))[:count]
    return found


def _points_of(own: tuple[Dimension, ...], keys: list[str], drawn: NDArray[np.float64]) -> list[Point]:
    if not own:
        return [{}]
    columns = [keys.index(one.key) for one in own]
    found = [
        {one.key: one.value(float(row[column])) for one, column in zip(own, columns, strict=True)}
        for row in drawn
    ]
    return sorted(found, key=lambda point: strength(point, own))


def strength(point: Point, space: Sequence[Dimension]) -> float:
    """From 0, all values at the weak ends of their ranges, to 1; 0 where no value is a strength."""
    places = [place for one in space if (place := one.strength(point[one.key])) is not None]
    return sum(places) / len(places) if places else 0.0


def at(
    study: Study, arm: str, point: Mapping[str, Choice], space: Mapping[str, tuple[Dimension, ...]]
) -> dict[str, Any]:
    """An arm's techniques at a point."""
    techniques: dict[str, Any] = dict(study.arms[arm])
    for one in space[arm]:
        techniques = one.put(techniques, point[one.key])
    return techniques


def trial_name(arm: str, number: int) -> str:
    """``l1 #3``: an arm's trial, counted from 1."""
    return f"{arm} #{number}"


def trials_of(study: Study) -> Study:
    """The study that trains every trial. Its draws are keyed apart from the study's, so that no seed is used twice, and
    its test split stays closed: what is tested are the validation images.
    """
    tune, space = study.tune, dimensions(study)
    assert tune is not None
    long = next((arm for arm in study.arms if len(arm) > LONGEST), None)
    if long is not None:
        raise UserError(
            "too long a name to number its trials", got=long, expected=f"at most {LONGEST} characters"
        )
    arms = {
        trial_name(arm, number): at(study, arm, point, space)
        for arm, of_arm in points(study).items()
        for number, point in enumerate(of_arm, start=1)
    }
    values = {
        "name": f"{study.name[:LONGEST]} trials",
        "key": f"{study.stream_key[:LONGEST]} tuning",
        "protocol": Protocol(kind="closed", validation=study.protocol.validation),
        "seeds": tuple(range(tune.seeds)),
        "baseline": trial_name(study.baseline, 1),
        "arms": arms,
    }
    return study.model_copy(update={**values, "factors": None, "tune": None, "resolved": None})


def announced(study: Study) -> list[str]:
    """What a person should know before the trials train: budget, ranges, and what stays as it is."""
    tune, space = study.tune, dimensions(study)
    assert tune is not None
    seeds = f"{tune.seeds} seed{'s' if tune.seeds > 1 else ''}"
    lines = [
        f"tuning: {tune.trials} trials of each arm × {seeds} of their own, chosen by {tune.rule} on validation; the "
        "test split stays closed"
    ]
    for arm, own in space.items():
        ranges = "; ".join(f"{one.key} {one.words}" for one in own)
        fixed = [name for name in study.arms[arm] if name not in {one.technique for one in own}]
        stays = f"; as written: {', '.join(fixed)}" if fixed and own else ""
        nothing = "nothing to tune, so that all its trials are one, which trains once"
        lines.append(f"{named(arm)}: {ranges or nothing}{stays}")
    if tune.trials & (tune.trials - 1):
        lines.append(f"{tune.trials} trials cover their ranges less evenly than a power of 2 does")
    return lines
