"""The trials by which a study's arms were tuned, as its file keeps them: means, what was chosen, whether at an edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.config.metrics import TOP_K
from regulab.statistics.verdicts import direction
from regulab.wording import quoted

ON_VALIDATION = {  # what a metric is called where the validation images are tested
    "test_accuracy": "validation accuracy in %",
    "balanced_accuracy": "balanced validation accuracy in %",
    "test_loss": "validation loss in nats",
    "nll": "validation loss in nats",
    "brier": "Brier score on validation",
    **{name: f"validation accuracy of the {k} most probable in %" for name, k in TOP_K.items()},
}


@dataclass(frozen=True, eq=False)
class Trials:
    """An arm's trials. ``scores`` ``(C, S)`` of the validation images, NaN where a run diverged; ``chosen`` from 0."""

    arm: str
    ranges: Mapping[str, str]  # in words, by key
    points: tuple[Mapping[str, Any], ...]
    scores: NDArray[np.float64]
    chosen: int

    @property
    def varied(self) -> bool:
        return bool(self.ranges)

    @property
    def means(self) -> NDArray[np.float64]:
        """``(C,)``; NaN where a run diverged."""
        return np.asarray(self.scores.mean(axis=1), dtype=np.float64)

    @property
    def point(self) -> Mapping[str, Any]:
        return self.points[self.chosen]

    def edges(self) -> dict[str, str]:
        """Of the keys whose chosen value is an outermost one that was tried: ``lowest`` or ``highest``."""
        found = {}
        for key in self.ranges:
            tried = [point[key] for point in self.points]
            if all(isinstance(value, int | float) and not isinstance(value, bool) for value in tried):
                own = self.point[key]
                if len(set(tried)) > 2 and own in (min(tried), max(tried)):
                    found[key] = "lowest" if own == min(tried) else "highest"
        return found


def trials_by_arm(tuned: Mapping[str, Any]) -> dict[str, Trials]:
    """Of the mapping ``tuned`` of a resolved study."""
    return {
        arm: Trials(
            arm,
            found["ranges"],
            tuple(found["points"]),
            np.array(
                [[np.nan if one is None else one for one in row] for row in found["scores"]], dtype=np.float64
            ),
            found["chosen"],
        )
        for arm, found in tuned["arms"].items()
    }


def note_on_untuned(study: Mapping[str, Any]) -> str | None:
    """Where some arms of a tuned study had no trials: they are compared with others at their best of many."""
    tuned = study.get("tuned")
    untuned = [] if tuned is None else [arm for arm in study["arms"] if arm not in tuned["arms"]]
    if not untuned:
        return None
    names = ", ".join(map(quoted, untuned))
    return f"{names} had no trials: compared as written with arms whose strengths were tuned, which favours those"


def higher_is_better(scores: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """The scores with the sign by which the highest is the best."""
    return -scores if direction(metric) < 0 else scores


def point_words(point: Mapping[str, Any]) -> str:
    """``lr 0.1, l1 0.0003``."""
    shown = (
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in point.items()
    )
    return ", ".join(shown)


def budget_words(tuned: Mapping[str, Any]) -> str:
    """One line: how many trials and seeds, how many runs, by which rule."""
    trials, seeds, found = tuned["trials"], tuned["seeds"], trials_by_arm(tuned)
    runs = sum(one.scores.size for one in found.values())
    same = [arm for arm, one in found.items() if not one.varied]
    alone = ""
    if same:
        who = ", ".join(f"“{arm}”" for arm in same)
        alone = f"; {who}, with nothing to tune, had one, which stands for all that would have been the same"
    rule = {
        "best": "best mean",
        "one_standard_error": "strongest within one standard error of the best mean",
    }[tuned["rule"]]
    each = f"{seeds} seed{'s' if seeds > 1 else ''}"
    return f"{trials} trials an arm, {each} each, {runs} runs in all{alone}; chosen: {rule} on the validation images"


def edge_words(one: Trials) -> str:
    """A warning where the choice lies at an edge of what was tried; empty where it does not."""
    edges = one.edges()
    if not edges:
        return ""
    said = " and ".join(f"the {side} {key} of all that were tried" for key, side in edges.items())
    return f"“{one.arm}” chose {said}: its best may lie beyond the range"
