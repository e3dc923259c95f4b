"""Distillation: learns from what another arm of the same seed came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from regulab.config import Positive, Text
from regulab.techniques.technique import Hooks, PerRun, Stage, Technique
from regulab.wording import quoted

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Distillation(Technique):
    """Distillation: minimizes (1 − w)·CE + w·T²·KL(softmax(z_teacher/T) ‖ softmax(z/T)), where z are logits.

    The teacher is an arm of the study that trains first: its run of the same seed, with the final weights (those that
    are tested: averaged ones under EMA, those of the best epoch under early stopping), in inference mode. It sees the
    very images that the student sees, augmented and mixed alike, and gets no gradient. T² keeps the gradient's size
    whatever the temperature is. CE is the cross-entropy, of smoothed labels where the arm smooths them; what other
    techniques add to the loss is added in full, and class weights weigh the whole sum. The student starts from the
    weights and takes the order of its seed, as every arm does, so that ``distillation: none`` is self-distillation, a
    network "born again". The teacher may have other techniques, another norm, and a teacher of its own. Where a run of
    the teacher diverged there is nothing to learn, and the student of that seed counts as diverged too.

    Arms that learn train in fleets of their own, after their teachers' fleets, and every step evaluates the teacher
    once. The losses that are recorded stay the cross-entropy with the true labels. Inference is as always. Parameters:
    ``teacher``, the name of another arm; ``temperature`` T > 0, by default 4; ``weight`` w, 0 ≤ w ≤ 1, by default 0.9;
    with 0 it is the plain cross-entropy, with 1 labels play no part.

    Source: Hinton, Vinyals & Dean 2015 (arXiv 1503.02531), section 2; the same network as its own teacher: Furlanello
    et al. 2018 (arXiv 1805.04770).
    """

    name: ClassVar[str] = "distillation"
    scalar: ClassVar[str] = "teacher"
    stage: ClassVar[Stage] = "evaluate"
    after: ClassVar[tuple[str, ...]] = ("label_smoothing",)
    teacher: Text = Field(description="The arm to learn from, whose run of the same seed trains first.")
    temperature: Positive = Field(default=4.0, description="T, by which both networks' logits are divided.")
    weight: Share = Field(default=0.9, description="w, the share of the loss that the teacher makes up.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(teacher="none", temperature=2, weight=0.7), cls(teacher="none", temperature=1, weight=1)

    def legend(self) -> str:
        return f"distilled from {quoted(self.teacher)}, T={self.temperature:g}, w={self.weight:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        temperatures = PerRun([1.0 if value is None else value.temperature for value in values])
        weights = PerRun([0.0 if value is None else value.weight for value in values])

        def taught(losses: Tensor, logits: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
            t, w = temperatures(logits), weights(losses)
            student, wanted = ((z / t[:, None]).log_softmax(-1) for z in (logits, teacher))
            divergence = F.kl_div(student, wanted, reduction="none", log_target=True).sum(-1)
            return (1 - w) * losses + w * t.square() * divergence

        return Hooks(taught=taught)
