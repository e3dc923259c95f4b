"""From the trials' records to the study with every arm at the point that it chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from regulab.config import Study
from regulab.config.tuning import Tuned, TunedArm
from regulab.errors import UserError
from regulab.records import StudyRecords
from regulab.statistics.choice import choose
from regulab.statistics.trials import higher_is_better
from regulab.statistics.values import by_arm
from regulab.tuning.space import dimensions
from regulab.tuning.trials import at, points, trial_name
from regulab.wording import listed


def tuned_study(study: Study, trials: StudyRecords) -> Study:
    """The study with each arm at the trial that its rule chose on validation, and with all trials on record.

    Raises `UserError` where every trial of some arm diverged.
    """
    tune, space, tried = study.tune, dimensions(study), points(study)
    assert tune is not None
    metric = study.endpoint.metric
    values = by_arm(trials, metric)
    scores = {
        arm: [
            [values[trial_name(arm, number)].get(seed) for seed in range(tune.seeds)]
            for number in range(1, len(of_arm) + 1)
        ]
        for arm, of_arm in tried.items()
    }
    _refuse_diverged(scores, study)
    arms, found = {}, {}
    for arm, of_arm in tried.items():
        known = [[np.nan if one is None else one for one in row] for row in scores[arm]]
        signed = higher_is_better(np.array(known, dtype=np.float64), metric)
        chosen = choose(signed, tune.rule)
        arms[arm] = at(study, arm, of_arm[chosen], space)
        ranges = {one.key: one.words for one in space[arm]}
        rows = tuple(tuple(row) for row in scores[arm])
        found[arm] = TunedArm(ranges=ranges, points=tuple(of_arm), scores=rows, chosen=chosen)
    record = Tuned(
        trials=tune.trials, seeds=tune.seeds, rule=tune.rule, metric=metric, of=study.identity(), arms=found
    )
    return study.model_copy(update={"arms": arms, "factors": None, "tune": None, "tuned": record})


def _refuse_diverged(scores: Mapping[str, Sequence[Sequence[float | None]]], study: Study) -> None:
    lost = [arm for arm, of_arm in scores.items() if all(None in row for row in of_arm)]
    if not lost:
        return
    rate = "lower learning rates (tune.ranges.lr)"
    who = "every arm" if len(lost) == len(scores) else listed(lost)
    raise UserError(
        f"nothing to choose: each trial of {who} diverged in a seed or more",
        got=f"{len(scores[lost[0]])} trials of {len(study.arms) if len(lost) == len(scores) else len(lost)} arms",
        expected=f"{rate}, or weaker strengths, in some trials",
        where="tune.ranges",
    )
