"""One cycle: up and down again; and its second name for the one learning rate of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field

from regulab.optimizers.optimizer import Optimizer
from regulab.schedules.schedule import Moment, Schedule, half_cosine
from regulab.values import Positive, Refusal

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer
    from torch.optim.lr_scheduler import LRScheduler


class OneCycle(Schedule):
    """One cycle: half a cosine from ``lr/initial_division`` up to the optimizer's rate, and half a cosine down again.

    The rate rises for ``warmup_fraction`` of all steps and ends at lr/(initial_division·final_division): torch's
    OneCycleLR with ``cycle_momentum=False``. Where a study gives ``max_lr``, that is the optimizer's rate.

    Source: Smith & Topin 2018 (arXiv 1708.07120).
    """

    name: ClassVar[str] = "one_cycle"
    max_lr: Positive | None = Field(
        default=None,
        description="The highest rate: another name for the optimizer's `lr`, of which one is enough.",
    )
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.3, description="The part of all steps in which the rate rises."
    )
    initial_division: Positive = Field(
        default=25.0, description="The first rate is the highest divided by this."
    )
    final_division: Positive = Field(default=1e4, description="The last rate is the first divided by this.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(), cls(warmup_fraction=0.25, initial_division=10, final_division=50)

    def rate(self, lr: float, moment: Moment) -> float:
        low, last = lr / self.initial_division, moment.total_steps - 1
        turn = max(self.warmup_fraction * moment.total_steps - 1, 1e-12)
        if moment.step <= turn:
            return half_cosine(low, lr, moment.step / turn)
        return half_cosine(lr, low / self.final_division, (moment.step - turn) / max(1e-12, last - turn))

    def without_effect(self, epochs: int) -> None:
        return None

    def reference(self, optimizer: TorchOptimizer, steps_per_epoch: int, epochs: int) -> LRScheduler:
        from torch.optim.lr_scheduler import OneCycleLR

        return OneCycleLR(
            optimizer,
            optimizer.param_groups[0]["lr"],
            total_steps=epochs * steps_per_epoch,
            pct_start=self.warmup_fraction,
            div_factor=self.initial_division,
            final_div_factor=self.final_division,
            cycle_momentum=False,
        )


def share_one_rate(
    kind: type[Optimizer], optimizer: dict[str, Any], schedule: dict[str, Any], recorded: bool
) -> None:
    """Puts the one rate of a one-cycle study into both places, ``lr`` and ``max_lr``; refuses two that differ.

    But for a rate that is only the default written out, such as SGD's 0.01, which one-cycle always replaced; and but
    for a run directory's own file (``recorded``), which older versions wrote with two rates.
    """
    lr, top = _read(optimizer.get("lr")), _read(schedule.get("max_lr"))
    if top is None:
        top = kind.one_cycle_lr or kind.model_fields["lr"].default if lr is None else lr
    elif isinstance(lr, int | float) and lr != top and not recorded and not only_the_default(kind, lr):
        raise Refusal(
            "has no effect beside train.schedule.max_lr",
            key="optimizer.lr",
            got=lr,
            expected=f"one highest rate, not {lr} and {top}",
            cure=f"leave out max_lr to train at {lr}, or lr to train at {top}",
        )
    optimizer["lr"] = top
    if (
        isinstance(top, int | float) and not isinstance(top, bool) and 0 < top < 1e308
    ):  # else it is refused, once
        schedule["max_lr"] = top


def _read(rate: Any) -> Any:
    """A rate in quotes as the number that it is taken for when it is checked; anything else as it is."""
    try:
        return float(rate) if isinstance(rate, str) else rate
    except ValueError:
        return rate


def only_the_default(kind: type[Optimizer], lr: Any) -> bool:
    """Whether a rate beside a ``max_lr`` is a default written out that one-cycle replaces by its own."""
    return kind.one_cycle_lr is not None and bool(lr == kind.model_fields["lr"].default)
