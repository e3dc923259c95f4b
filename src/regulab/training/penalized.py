"""On which parameters of a person's network the penalties of a study fall: on none is refused, on few or on unusual
ones is told."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from regulab import models
from regulab.errors import UserError
from regulab.models.parameters import trained_weight_names
from regulab.techniques.technique import Penalty
from regulab.training.runs import Run, Setup
from regulab.training.user_model_notes import listed

FEW = 0.5  # of the trained numbers
LAYERS = (
    nn.modules.conv._ConvNd,
    nn.Linear,
    nn.Bilinear,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)


def check_penalties(setup: Setup, run: Run) -> None:
    """Raises `UserError` where an arm has a penalty that falls on no parameter, so that it would do nothing."""
    penalties = [p for p in _of_weights(run) if p.strength > 0]
    if penalties and not trained_weight_names(setup.initial(run), setup.idle(run)):
        raise UserError(
            f"{penalties[0].name} falls on no parameter of the network",
            got="no trained weight of two dimensions or more",
            expected="include: all",
            where=f"arms.{run.arm}.{penalties[0].name}",
        )


def penalty_notes(setup: Setup) -> list[str]:
    """Sentences for the dry run, the terminal and the report; nothing for regulab's own networks."""
    if not models.is_user_model(setup.study.model.name):
        return []
    told: dict[str, None] = {}
    for group in setup.architectures:
        runs = [setup.run(arm, setup.study.seeds[0]) for arm in group]
        names = dict.fromkeys(p.name for run in runs for p in _of_weights(run) if p.strength > 0)
        if names:
            told |= dict.fromkeys(_of_network(setup, runs[0], ", ".join(names)))
    return list(told)


def _of_weights(run: Run) -> list[Penalty]:
    return [t for t in run.techniques if isinstance(t, Penalty) and t.include == "weights"]


def _of_network(setup: Setup, run: Run, penalties: str) -> list[str]:
    network, idle = setup.initial(run), setup.idle(run)
    weights, notes = trained_weight_names(network, idle), []
    trained = {n: p.numel() for n, p in network.named_parameters() if p.requires_grad and n not in idle}
    count, total = sum(trained[name] for name in weights), sum(trained.values())
    if count < FEW * total:
        left = sorted(set(trained) - weights, key=lambda name: -trained[name])
        notes.append(
            f"{penalties}: only {count:,} of {total:,} trained parameters are penalized, those of two dimensions or "
            f"more; left out are {listed(left)} (include: all penalizes them)"
        )
    unusual = [name for name in trained if name in weights and not _is_of_layer(network, name)]
    if unusual:
        notes.append(
            f"{penalties}: penalized as weights, since they have two dimensions or more: {listed(unusual)}"
        )
    if divided := [name for name in _divided(network) if name in weights]:
        notes.append(
            f"{penalties}: shrinking {listed(divided)} does not by itself change what the network computes, since "
            "weight or spectral norm divides by the length"
        )
    return notes


def _is_of_layer(network: nn.Module, name: str) -> bool:
    owner = network.get_submodule(name.rpartition(".")[0])
    return isinstance(owner, LAYERS) or ".parametrizations." in f".{name}"


def _divided(network: nn.Module) -> list[str]:
    """Names of the parameters that a network divides by their norm, in torch's old style or the new."""
    found = []
    for path, layer in network.named_modules():
        for hook in layer._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm | SpectralNorm):
                found.append(f"{path}.{hook.name}_{'v' if isinstance(hook, WeightNorm) else 'orig'}")
        for name, chain in layer.parametrizations.items() if is_parametrized(layer) else ():
            for part in chain:
                if isinstance(part, parametrizations._WeightNorm | parametrizations._SpectralNorm):
                    original = "original1" if isinstance(part, parametrizations._WeightNorm) else "original"
                    found.append(f"{path}.parametrizations.{name}.{original}")
    return [name.lstrip(".") for name in found]
