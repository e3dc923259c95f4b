"""On which parameters of a network penalties, limits and spectral norm fall: on none is refused, on few or on unusual
ones is told, and so is what they cannot do."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm as TorchSpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from regulab import models
from regulab.errors import UserError
from regulab.models.layers.spectral import Spectral
from regulab.models.parameters import trained_weight_names
from regulab.techniques import stack
from regulab.techniques.group_lasso import GroupLasso
from regulab.techniques.max_norm import MaxNorm
from regulab.techniques.penalty import Penalty, WeightPenalty
from regulab.techniques.spectral_norm import SpectralNorm
from regulab.techniques.technique import Technique
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
    found = _on_weights(run)
    if found and not trained_weight_names(setup.initial(run), setup.idle(run)):
        raise UserError(
            f"{found[0].name} falls on no parameter of the network",
            got="no trained weight of two dimensions or more",
            expected="include: all" if isinstance(found[0], Penalty) else "a network with such weights",
            where=f"arms.{run.arm}.{found[0].name}",
        )


def penalty_notes(setup: Setup) -> list[str]:
    """Sentences for the dry run, the terminal and the report; of regulab's own networks about spectral norm alone."""
    told: dict[str, None] = {}
    for group in setup.architectures:
        runs = [setup.run(arm, setup.study.seeds[0]) for arm in group]
        found = {t.name: t for run in runs for t in _on_weights(run)}
        if models.is_user_model(setup.study.model.name):
            for inclusive in (True, False):
                names = [name for name, t in found.items() if isinstance(t, Penalty) == inclusive]
                if names:
                    told |= dict.fromkeys(_of_network(setup, runs[0], ", ".join(names), inclusive))
            by_row = [name for name, t in found.items() if isinstance(t, GroupLasso | MaxNorm)]
            told |= dict.fromkeys(_of_transposed(setup.initial(runs[0]), ", ".join(by_row)) if by_row else ())
        corrected = [run for run in runs if any(hook.by_norm for hook in stack([run.techniques]).values())]
        told |= dict.fromkeys(_of_corrected_decay(setup, corrected[0]) if corrected else ())
        if any(isinstance(t, SpectralNorm) for t in runs[0].techniques):
            told |= dict.fromkeys(_of_spectral_norm(setup, runs[0], found))
    return list(told)


def _on_weights(run: Run) -> list[Technique]:
    """What an arm has that falls on weights alone, and does anything."""
    penalties = [t for t in run.techniques if isinstance(t, WeightPenalty) and t.strength > 0]
    on_all = [t for t in penalties if isinstance(t, Penalty) and t.include == "all"]
    return [t for t in run.techniques if (t in penalties and t not in on_all) or isinstance(t, MaxNorm)]


def _of_corrected_decay(setup: Setup, run: Run) -> list[str]:
    """Which weights the corrected form does not correct."""
    before_norm = setup.before_norm(run, stack([run.techniques]))
    weights = trained_weight_names(setup.initial(run), setup.idle(run))
    others = sorted(weights - before_norm)
    if not weights & before_norm:
        return ["weight_decay, corrected: no weight is before a norm, so all decay as in the form decoupled"]
    if not others:
        return []
    return [f"weight_decay, corrected: not before a norm, so as in the form decoupled: {listed(others)}"]


def _of_transposed(network: nn.Module, names: str) -> list[str]:
    transposed = [
        f"{path}.weight".lstrip(".")
        for path, layer in network.named_modules()
        if isinstance(layer, nn.modules.conv._ConvTransposeNd)
    ]
    if not transposed:
        return []
    return [f"{names}: what goes as one is an input channel, not an output channel, in {listed(transposed)}"]


def _of_spectral_norm(setup: Setup, run: Run, others: Mapping[str, Technique]) -> list[str]:
    network = setup.initial(run)
    weights = trained_weight_names(network, setup.idle(run))
    divided = {f"{path}.weight" for path, layer in network.named_modules() if isinstance(layer, Spectral)}
    notes, left = [], sorted(weights - divided)
    if left:
        notes.append(
            "spectral_norm: divides the weights of 2-d convolutions and linear layers that the network itself calls; "
            f"left as they are: {listed(left)}"
        )
    if others:
        notes.append(
            f"{', '.join(others)} beside spectral_norm: shrinking a weight does not by itself change what the network "
            "computes, since it is divided by its largest singular value; recorded norms and zeros are of what is "
            "divided"
        )
    return notes


def _of_network(setup: Setup, run: Run, penalties: str, inclusive: bool) -> list[str]:
    """``inclusive``: they can be asked to penalize all parameters."""
    network, idle = setup.initial(run), setup.idle(run)
    weights, notes = trained_weight_names(network, idle), []
    trained = {n: p.numel() for n, p in network.named_parameters() if p.requires_grad and n not in idle}
    count, total = sum(trained[name] for name in weights), sum(trained.values())
    if count < FEW * total:
        left = sorted(set(trained) - weights, key=lambda name: -trained[name])
        notes.append(
            f"{penalties}: only {count:,} of {total:,} trained parameters are {_done(inclusive)}, those of two "
            f"dimensions or more; left out are {listed(left)}"
            + (" (include: all penalizes them)" * inclusive)
        )
    unusual = [name for name in trained if name in weights and not _is_of_layer(network, name)]
    if unusual:
        notes.append(
            f"{penalties}: {_done(inclusive)} as weights, since they have two dimensions or more: {listed(unusual)}"
        )
    if divided := [name for name in _divided(network) if name in weights]:
        notes.append(
            f"{penalties}: shrinking {listed(divided)} does not by itself change what the network computes, since "
            "weight or spectral norm divides by the length"
        )
    return notes


def _done(inclusive: bool) -> str:
    return "penalized" if inclusive else "held"


def _is_of_layer(network: nn.Module, name: str) -> bool:
    owner = network.get_submodule(name.rpartition(".")[0])
    return isinstance(owner, LAYERS) or ".parametrizations." in f".{name}"


def _divided(network: nn.Module) -> list[str]:
    """Names of the parameters that a network divides by their norm, in torch's old style or the new."""
    found = []
    for path, layer in network.named_modules():
        for hook in layer._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm | TorchSpectralNorm):
                found.append(f"{path}.{hook.name}_{'v' if isinstance(hook, WeightNorm) else 'orig'}")
        for name, chain in layer.parametrizations.items() if is_parametrized(layer) else ():
            for part in chain:
                if isinstance(part, parametrizations._WeightNorm | parametrizations._SpectralNorm):
                    original = "original1" if isinstance(part, parametrizations._WeightNorm) else "original"
                    found.append(f"{path}.parametrizations.{name}.{original}")
    return [name.lstrip(".") for name in found]
