"""Whether a tuned study trains its arms at the points that their tuning chose, as all that is said of it claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from regulab.config.tuning import LR, Tuned
from regulab.errors import UserError
from regulab.techniques.learning_rate import LearningRate
from regulab.techniques.technique import Technique


def refuse_other_points(tuned: Tuned, arms: Mapping[str, Sequence[Technique]]) -> None:
    """Raises `UserError` for an arm whose value was changed after it was tuned: “tuned with 16 trials” were untrue."""
    for arm, found in tuned.arms.items():
        for key, chosen in found.points[found.chosen].items() if arm in arms else ():
            name, _, field = (LearningRate.name if key == LR else key).partition(".")
            own = next((one for one in arms[arm] if one.name == name), None)
            got = None if own is None else getattr(own, field or own.scalar)
            if own is None or (isinstance(got, type(chosen) | int | float) and got != chosen):
                raise UserError(
                    "not what tuning chose",
                    got=f"{key} {got}" if own is not None else f"no {name}",
                    expected=f"{key} {chosen}",
                    where=f"arms.{arm}",
                    cure=f"give an arm of another name other values, or leave out tuned.arms.{arm}",
                )
