"""SWA: the mean of the weights along the last part of training is what is evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor

from regulab.config import Count
from regulab.techniques.late import Late
from regulab.techniques.technique import Hooks, Memory, PerRun, StepCount, Tensors, select


class SWA(Late):
    """SWA: validation, test and saved weights are the mean of those that ended the last epochs, ā = (w₁ + … + wₙ)/n.

    The first of them is that of epoch ``start``; until then ā is w itself. Training goes on from w as ever, and the
    training loss that is recorded is w's; validation, and so early stopping, ``reduce_on_plateau`` and ``best_val``,
    is that of ā. Statistics of batch norms fit no averaged weights, so after every epoch in which ā changed they are
    made anew: one forward pass of ā over that epoch's batches in training mode, with its dropout and augmentation but
    without what techniques do to a batch (mixup), all batches counting alike. It is torch's ``AveragedModel`` with
    ``use_buffers=True`` (other buffers are averaged like weights) and ``update_bn``, for every norm with running
    averages. The pass costs a third to two thirds of an epoch of training, for a whole fleet; runs beside it are not
    touched. Batch renorm takes part in it as batch norm. A run that early stopping ends before ``start``, or takes back
    to an epoch before it, has averaged nothing.

    The rate is the schedule's: the paper holds it high, or cycles it, where others let it fall, since weights that no
    longer move have nothing to average; schedule ``constant``, or ``swa``, which falls to a rate and stays there.
    Parameters: ``start``, an epoch ≥ 1, or below 1 the fraction of the training before the first epoch that counts, by
    default 0.75; ``every`` ≥ 1 of a ``unit``, ``epochs`` (the default, counted at their ends) or ``steps``: how far
    apart the weights are that are averaged, by default each.

    Source: Izmailov et al. 2018 (arXiv 1803.05407).
    """

    name: ClassVar[str] = "swa"
    scalar: ClassVar[str] = "start"
    excludes: ClassVar[Mapping[str, str]] = {
        "ema": "each has its own average of the weights, and one can be evaluated"
    }
    start: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = Field(
        default=0.75,
        description="The first epoch that counts, or below 1 the fraction of training before it.",
    )
    every: Count = Field(
        default=1, description="How far apart the weights are that are averaged, in units of `unit`."
    )
    unit: Literal["epochs", "steps"] = Field(
        default="epochs", description="Whether weights are taken at ends of epochs or after steps."
    )

    @field_validator("start")
    @classmethod
    def _a_fraction_or_an_epoch(cls, value: float) -> float:
        if value > 1 and not value.is_integer():
            raise ValueError("an epoch such as 30, or a fraction of the training below 1, such as 0.75")
        return value

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(start=1), cls(start=0.5, unit="steps"), cls(start=1, every=2, unit="steps")

    def legend(self) -> str:
        begun = f"epoch {self.start:g}" if self.start >= 1 else f"{100 * self.start:g} % of training"
        unit = self.unit if self.every > 1 else self.unit.removesuffix("s")
        how = f", every {f'{self.every} ' if self.every > 1 else ''}{unit}"
        return f"SWA from {begun}" + (how if (self.every, self.unit) != (1, "epochs") else "")

    def first_epoch(self, epochs: int) -> int:
        return int(self.start) if self.start >= 1 else int(round(self.start * epochs, 9)) + 1

    def first_step(self, steps: int, epochs: int) -> int:
        """The step, counted from 1, after which the first weights are taken, of epochs of so many."""
        first = self.first_epoch(epochs)
        return first * steps if self.unit == "epochs" else (first - 1) * steps + 1

    def interval(self, steps: int) -> int:
        """Steps from one of the weights to the next."""
        return self.every * steps if self.unit == "epochs" else self.every

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        @cache
        def places(steps: int, epochs: int) -> tuple[PerRun, PerRun]:
            first = [1 if value is None else value.first_step(steps, epochs) for value in values]
            apart = [1 if value is None else value.interval(steps) for value in values]
            return PerRun(first), PerRun(apart)

        def init(weights: Tensors) -> dict[str, Tensor]:
            return {name: w for name, w in weights.items() if w.is_floating_point()}

        def update(averages: Tensors, weights: Tensors, count: StepCount) -> dict[str, Tensor]:
            some = next(iter(averages.values()))
            whole = some.new_empty((), dtype=torch.float64)  # in which numbers of steps are exact
            first, apart = (numbers(whole) for numbers in places(count.steps, count.epochs))
            since = count.t - first  # (R,)
            taken, before = (since > 0) & (since % apart == 0), (since / apart).floor().clamp(min=0)
            found = {}
            for name, average in averages.items():
                w = weights[name]
                share = (1 / (before + 1)).to(w.dtype).view(-1, *[1] * (w.ndim - 1))
                mean = select(taken, average + share * (w - average), average)
                found[name] = select(since <= 0, w, mean)
            return found

        def evaluated(averages: Tensors, weights: Tensors) -> dict[str, Tensor]:
            return dict(averages)

        def anew(count: StepCount) -> list[bool]:
            return [value is not None and value._changed_within(count) for value in values]

        return Hooks(memory=Memory(init=init, update=update, evaluated=evaluated, anew=anew))

    def _changed_within(self, count: StepCount) -> bool:
        """Whether weights were taken in the epoch that ends with this step."""
        since = int(count.t) - self.first_step(count.steps, count.epochs)
        return since >= 0 and since % self.interval(count.steps) < count.steps
