"""What a person should know of networks whose layers use their weights changed: divided, standardized, dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from regulab.models.layers.reweighted import Reweighted, Standardize
from regulab.models.layers.spectral import Spectral
from regulab.techniques.drop_connect import DropConnect
from regulab.techniques.max_norm import MaxNorm
from regulab.techniques.penalty import WeightPenalty
from regulab.techniques.spectral_norm import SpectralNorm
from regulab.techniques.technique import Technique
from regulab.techniques.weight_standardization import WeightStandardization
from regulab.training.before_norm import weights_before_norm
from regulab.training.runs import CHECKED_IMAGES, Run, Setup
from regulab.training.user_model_notes import listed

DIVIDING = (SpectralNorm, WeightStandardization)
CHANGING = (*DIVIDING, DropConnect)


def edit_notes(setup: Setup) -> list[str]:
    """Sentences for the dry run, the terminal and the report."""
    told: dict[str, None] = {}
    for group in setup.architectures:
        runs = [setup.run(arm, setup.study.seeds[0]) for arm in group]
        names = [t.name for t in runs[0].techniques if isinstance(t, CHANGING)]
        if not names:
            continue
        told |= dict.fromkeys(_of_frozen(setup, runs[0], ", ".join(names)))
        told |= dict.fromkeys(_of_norms(setup, runs[0]))
        if any(isinstance(t, WeightStandardization) for t in runs[0].techniques):
            told |= dict.fromkeys(_of_standardized(runs))
    return list(told)


def _of_frozen(setup: Setup, run: Run, edits: str) -> list[str]:
    """Frozen weights stay as they are, but an edit changes how they are used."""
    names = [
        f"{path}.weight".lstrip(".")
        for path, layer in setup.initial(run).named_modules()
        if isinstance(layer, Spectral | Reweighted) and not layer.weight.requires_grad
    ]
    return [f"{edits}: frozen weights, too, are used changed: {listed(names)}"] if names else []


def _of_norms(setup: Setup, run: Run) -> list[str]:
    """Spectral norm bounds nothing before a norm; weight standardization without one makes outputs large."""
    divided, standardized = set[str](), set[str]()
    for path, layer in setup.initial(run).named_modules():
        if isinstance(layer, Spectral):
            divided.add(f"{path}.weight".lstrip("."))
        elif isinstance(layer, Reweighted) and isinstance(layer.reweight, Standardize):
            standardized.add(f"{path}.weight".lstrip("."))
    if not divided and not standardized:
        return []
    # Measured without the edit, which divides by the length itself.
    bare = replace(run, techniques=tuple(t for t in run.techniques if not isinstance(t, DIVIDING)))
    before = weights_before_norm(setup.module(bare), setup.first_images(CHECKED_IMAGES))
    notes = []
    if undone := sorted(divided & before):
        notes.append(
            "spectral_norm: a norm follows, which undoes the bound, so that these stretch as they like: "
            f"{listed(undone)}"
        )
    if large := sorted(standardized - before):
        notes.append(
            "weight_standardization: no norm follows, so that outputs are about √fan_in times as large as inputs: "
            f"{listed(large)}"
        )
    return notes


def _of_standardized(runs: Sequence[Run]) -> list[str]:
    """A weight of 0 is used as −μ/√(σ² + ε), and length is divided out."""
    found: dict[str, Technique] = {t.name: t for run in runs for t in run.techniques}
    names = [
        name
        for name, t in found.items()
        if isinstance(t, MaxNorm) or (isinstance(t, WeightPenalty) and t.strength > 0)
    ]
    if not names:
        return []
    return [
        f"{', '.join(names)} beside weight_standardization: the length of a standardized weight changes nothing that "
        "the network computes, and one of its numbers that is 0 is used as another unless its whole filter is 0; "
        "recorded norms and zeros are of the weights before that"
    ]
