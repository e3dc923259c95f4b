"""The model: networks (`nets`), normalization layers (`norms`), and how a seed initializes them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import torch
from torch import nn

from regulab.config import Model
from regulab.errors import UserError
from regulab.models.dropout import adopt
from regulab.models.own import is_own, own_net, own_source
from regulab.models.parts import Net, Norm
from regulab.registry import catalogue, lookup
from regulab.streams import Streams

NETS: dict[str, Net] = catalogue("regulab.models.nets", Net)
NORMS: dict[str, Norm] = catalogue("regulab.models.norms", Norm)


def build(model: Model, in_channels: int, classes: int, streams: Streams) -> nn.Module:
    """The network of a study with the initial weights of a seed.

    Each layer draws its initial weights from a stream keyed by its own qualified name, in the way
    of its ``reset_parameters``; so a layer that a model adds changes no other layer's weights. A person's own
    network keeps what its constructor made, under one stream for the whole of it.
    """
    net = own_net(model.name) if is_own(model.name) else lookup(NETS, model.name, "model", "model.name")
    norm = lookup(NORMS, model.norm, "norm", "model.norm")
    for choice in ("norm", "norm_position", "depth"):
        chosen = getattr(model, choice)
        if choice not in net.takes and chosen != Model.model_fields[choice].default:
            raise UserError(f"{model.name} leaves no choice of this", got=chosen, where=f"model.{choice}")
    with torch.random.fork_rng(devices=[]):
        _seed_torch(streams, "construction")
        module = adopt(net.build(in_channels, classes, norm, model))
        for name, layer in module.named_modules():
            if model.name in NETS and hasattr(layer, "reset_parameters"):
                _seed_torch(streams, name)
                layer.reset_parameters()
    return module


def _seed_torch(streams: Streams, name: str) -> None:
    torch.manual_seed(int(streams.generator("initial weights", name).bit_generator.random_raw() >> 1))


def fingerprint(model: Model, modules: Sequence[nn.Module]) -> str:
    """SHA-256 over the initial weights and, for a person's own network, its file: what a study must not change.

    ``modules`` are a network of each architecture that the study's arms have.
    """
    source = own_source(model.name) if is_own(model.name) else b""
    weights = "".join(weights_hash(module) for module in modules)
    return hashlib.sha256(weights.encode() + source).hexdigest()


def weights_hash(module: nn.Module, names: Collection[str] | None = None) -> str:
    """SHA-256 over names, shapes and values of the parameters, or of those called ``names``.

    Equal hashes, equal starting points.
    """
    digest = hashlib.sha256()
    for name, parameter in module.named_parameters():
        if names is not None and name not in names:
            continue
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
