"""Which arms' steps are others than those of the arms beside them, and cost more."""

from __future__ import annotations

from regulab.techniques.adaptive_gradient_clipping import AdaptiveGradientClipping, last_layer_of
from regulab.techniques.technique import Technique
from regulab.training.network_notes import shortened
from regulab.training.setup import Setup
from regulab.wording import quoted


def step_notes(setup: Setup) -> list[str]:
    """Sentences for the dry run, the terminal and the report: which arms' steps are others, and cost more."""
    of_kind: dict[type[Technique], list[str]] = {}
    for arm, techniques in setup.arms.items():
        for technique in techniques:
            of_kind.setdefault(type(technique), []).append(arm)
    notes = []
    for kind, arms in of_kind.items():
        named, one = shortened([quoted(arm) for arm in arms]), len(arms) == 1
        which = f"its arm {named} trains" if one else f"its arms {named} train"
        own = f" in fleets of {'its' if one else 'their'} own" if len(arms) < len(setup.arms) else ""
        notes += [f"{kind.name} {does}: {which}{how}{own}" for does, how in _steps_of(kind)]
    return [*notes, *_of_last_layers(setup)]


def _steps_of(kind: type[Technique]) -> list[tuple[str, str]]:
    """What a technique's steps do beyond one pass, and by what means."""
    found = []
    if kind.passes > 1:
        found.append(("evaluates every step again", ""))
    if kind.copies > 1:
        found.append((f"passes every image {kind.copies} times in a step", ""))
    if kind.double_backward:
        found.append(("differentiates gradients, which compiled kernels do not", " by torch's layers"))
    return found


def _of_last_layers(setup: Setup) -> list[str]:
    """Which layer adaptive gradient clipping takes for the last one: parameters may stand in another order."""
    found: dict[str, None] = {}
    for arm, techniques in setup.arms.items():
        if any(isinstance(t, AdaptiveGradientClipping) and not t.last_layer for t in techniques):
            run = setup.run(arm, setup.study.seeds[0])
            idle = setup.idle(run)
            named = setup.initial(run).named_parameters()
            trained = {name: p[None] for name, p in named if p.requires_grad and name not in idle}
            found[last_layer_of(trained)] = None
    return [f"{AdaptiveGradientClipping.name} leaves out the last layer, {quoted(name)}" for name in found]
