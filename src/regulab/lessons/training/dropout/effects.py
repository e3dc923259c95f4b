"""What the lesson ``dropout`` shows and judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regulab.lessons.training.dropout.masks import Expectation, Floats, Masks


@dataclass(frozen=True)
class DropoutEffects:
    """What is shown at one ``rate``, and by rate ``(S,)``: accuracies, co-adaptation, the last norm's variance."""

    rate: float
    masks: Masks
    layer: Expectation
    network: Expectation
    train: Mapping[float, Floats]
    test: Mapping[float, Floats]
    verdicts: Mapping[float, str]
    deletion: Mapping[float, Floats]
    correlation: Mapping[float, Floats]
    norm_variance: Mapping[float, Floats]
