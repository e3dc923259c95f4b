"""What a person should know of arms whose evaluated weights are an average over steps."""

from __future__ import annotations

from regulab.techniques import stack
from regulab.techniques.early_stopping import EarlyStopping
from regulab.techniques.late import Late
from regulab.techniques.penalty import WeightPenalty
from regulab.techniques.technique import Technique
from regulab.training.runs import Setup
from regulab.wording import quoted


def average_notes(setup: Setup) -> list[str]:
    """Sentences for the dry run, the terminal and the report."""
    told: dict[str, None] = {}
    for arm, techniques in setup.arms.items():
        averaging = [t for t in techniques if _averages(t)]
        told |= dict.fromkeys(_of_zeros(techniques, averaging))
        told |= dict.fromkeys(_of_early_ends(setup, arm, techniques, averaging))
    return list(told)


def _averages(technique: Technique) -> bool:
    memory = technique.stack([technique]).memory
    return memory is not None and memory.evaluated is not None


def _of_zeros(techniques: tuple[Technique, ...], averaging: list[Technique]) -> list[str]:
    """Exact zeros are lost in an average."""
    strong = tuple(t for t in techniques if not isinstance(t, WeightPenalty) or t.strength > 0)
    zeroing = [name for name, hooks in stack([strong]).items() if hooks.makes_zeros]
    if not zeroing or not averaging:
        return []
    return [
        f"{', '.join(zeroing)} beside {averaging[0].name}: an averaged weight is 0 only where it was 0 in all that is "
        "averaged, so expect few exact zeros in the weights that are evaluated and saved"
    ]


def _of_early_ends(
    setup: Setup, arm: str, techniques: tuple[Technique, ...], averaging: list[Technique]
) -> list[str]:
    """Early stopping may go back to an epoch in which nothing was averaged yet."""
    if not any(isinstance(t, EarlyStopping) for t in techniques):
        return []
    epochs = setup.study.train.epochs
    first = [(t.name, t.first_epoch(epochs)) for t in averaging if isinstance(t, Late)]
    return [
        f"{quoted(arm)}: a run whose lowest validation loss lies before epoch {epoch}, in which {name} begins, ends "
        "with weights that are no average"
        for name, epoch in first
        if epoch > 1
    ]
