"""The model: networks (`nets`), normalization layers (`norms`), and how a seed initializes them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from regulab.config import Model, NameWithFields, Source, validate
from regulab.config.paths import is_user_model
from regulab.errors import UserError
from regulab.models.elsewhere import hashes_elsewhere, may_differ
from regulab.models.freezing import freeze
from regulab.models.generators import keyed_generators
from regulab.models.given import readable
from regulab.models.given_weights import load_into, read, refresh_weights
from regulab.models.layers.dropout import adopt
from regulab.models.net import Net, args_of
from regulab.models.norm import Norm
from regulab.models.user_model import (
    REPEATABLE,
    WHERE,
    how_called,
    lazy,
    materialize,
    package_of,
    refresh_sources,
    refuse_tensors,
    starts,
    user_net,
    user_sources,
)
from regulab.registry import catalogue, lookup
from regulab.streams import Streams

__all__ = [
    "NETS",
    "NORMS",
    "WHERE",
    "build",
    "file_hashes",
    "fingerprint",
    "given_weights_hash",
    "how_called",
    "is_user_model",
    "named",
    "net_of",
    "norm_of",
    "package_of",
    "refresh",
    "refuse_choices",
    "refuse_other_process",
    "weights_hash",
]

NETS: dict[str, Net] = catalogue("regulab.models.nets", Net)
NORMS: dict[str, type[Norm]] = catalogue("regulab.models.norms", Norm)


def norm_of(choice: str | NameWithFields, where: str = "model.norm") -> Norm:
    """The norm that a study file names, with its fields; raises `UserError` that says which key is wrong."""
    name, given = (choice, {}) if isinstance(choice, str) else (choice.name, choice.fields)
    kind: type[Norm] = lookup(NORMS, name, "norm", where)
    if given and not kind.model_fields:
        key = next(iter(given))
        expected = f"{name} alone: it has no parameters"
        raise UserError("unknown key", got=given[key], expected=expected, where=f"{where}.{key}")
    return validate(kind, given, Source(where, is_key=True))


def named(norm: Norm) -> str | NameWithFields:
    """The shortest way to write a norm in a study file, so that equal norms are equal however they were written."""
    fields = norm.model_dump(mode="json", exclude_defaults=True)
    return NameWithFields(name=norm.name, **fields) if fields else norm.name


def build(
    model: Model,
    in_channels: int,
    classes: int,
    streams: Streams,
    images: Tensor | None = None,
    edits: Sequence[Callable[[nn.Module], nn.Module]] = (),
) -> nn.Module:
    """The network of a study with the initial weights of a seed, or of the study's file of weights.

    Each layer draws its initial weights from a stream keyed by its own qualified name, in the way
    of its ``reset_parameters``; so a layer that a model adds changes no other layer's weights. A person's own
    network keeps what its constructor made, under one stream for the whole of it, from which Python's, numpy's and
    torch's generators start. Its lazy layers take their sizes from ``images`` ``(B, C, H, W)``, and so do networks that
    depend on them. ``edits`` change the network; the layers that they add draw like ours.
    """
    net, norm = net_of(model), norm_of(model.norm)
    refuse_choices(net, model)
    own = is_user_model(model.name)
    size = None if images is None else (int(images.shape[2]), int(images.shape[3]))
    if size is not None:
        net.refuse_small(size)
    with keyed_generators(streams, "initial weights", "construction"):
        module = net.build(in_channels, classes, norm, model, size if size or own else net.usual[1:])
        module = (
            _adopted_user_net(module, model, images, streams, (in_channels, classes))
            if own
            else adopt(module)
        )
        finished = set(module.modules()) if own else set()
        if model.weights is not None:
            _initialize(module, streams, finished)
            load_into(module, model.weights, model.name)
            finished = set(module.modules())
        freeze(module, model.freeze or ())
        for edit in edits:
            module = adopt(edit(module))
        _initialize(module, streams, finished)
    return module


def net_of(model: Model) -> Net:
    """The net that a study names: one of ours, or of a file or an installed package."""
    found: Net = (
        user_net(model.name) if is_user_model(model.name) else lookup(NETS, model.name, "model", "model.name")
    )
    return found


def refuse_choices(net: Net, model: Model) -> None:
    """Raises `UserError` for choices and arguments that the net does not leave."""
    for choice in ("norm", "norm_position", "depth"):
        chosen = getattr(model, choice)
        if choice not in net.takes and chosen != Model.model_fields[choice].default:
            raise UserError(f"{model.name} leaves no choice of this", got=chosen, where=f"model.{choice}")
    if not is_user_model(model.name):
        args_of(net.args, model)


def _initialize(module: nn.Module, streams: Streams, finished: Collection[nn.Module]) -> None:
    """Lets the layers that are not ``finished`` draw, each under its own name."""
    for name, layer in module.named_modules():
        if hasattr(layer, "reset_parameters") and layer not in finished:
            _seed_torch(streams, name)
            layer.reset_parameters()


def _adopted_user_net(
    module: nn.Module, model: Model, images: Tensor | None, streams: Streams, sizes: tuple[int, int]
) -> nn.Module:
    """A person's network with sizes and ours in the place of torch's dropout.

    Raises `UserError` where it starts elsewhere than when this process built it before.
    """
    if images is not None:
        materialize(module, model.name, images)
    refuse_tensors(module, model.name)
    if not lazy(module):
        found, shape = weights_hash(module), () if images is None else images.shape
        if starts(model.name).setdefault((model, streams, *sizes, *shape), found) != found:
            raise UserError(
                f"{model.name} built twice for seed {streams.seed} has other initial weights the second time",
                expected=REPEATABLE,
                where=WHERE,
            )
    return adopt(module, f"model {model.name}")


def _seed_torch(streams: Streams, name: str) -> None:
    torch.manual_seed(int(streams.generator("initial weights", name).bit_generator.random_raw() >> 1))


def fingerprint(model: Model, modules: Sequence[nn.Module]) -> str:
    """SHA-256 over the initial weights and, for a person's own network, its files: what a study must not change.

    ``modules`` holds one network of each architecture among the study's arms.
    """
    digest = hashlib.sha256("".join(weights_hash(module) for module in modules).encode())
    if is_user_model(model.name):
        own, *imported = user_sources(model.name).items() if not package_of(model.name) else (("", b""),)
        digest.update(own[1])
        for path, content in imported:
            digest.update(f"\x1f{path}\x1f{hashlib.sha256(content).hexdigest()}".encode())
    return digest.hexdigest()


def file_hashes(model: Model) -> dict[str, str]:
    """SHA-256 of each file of a person's own network, by path relative to its folder."""
    own = is_user_model(model.name) and not package_of(model.name)
    files = user_sources(model.name) if own else {}
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


def refresh(model: Model) -> None:
    """Reads a network's files anew where they have changed since this process read them."""
    if is_user_model(model.name):
        refresh_sources(model.name)
    if model.weights is not None:
        refresh_weights(model.weights)


def given_weights_hash(model: Model) -> str:
    """SHA-256 of the file that all runs start from; empty: there is none."""
    return "" if model.weights is None else read(model.weights).digest


def buffers_hash(module: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of the buffers."""
    digest = hashlib.sha256()
    for name, buffer in module.named_buffers():
        digest.update(f"{name}{buffer.dtype}{tuple(buffer.shape)}".encode())
        digest.update(_bytes(buffer))
    return digest.hexdigest()


def weights_hash(module: nn.Module, names: Collection[str] | None = None) -> str:
    """SHA-256 over names, shapes and values of the parameters, or of those called ``names``.

    Equal hashes, equal starting points.
    """
    digest = hashlib.sha256()
    for name, parameter in module.named_parameters():
        if names is not None and name not in names:
            continue
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(_bytes(parameter))
    return digest.hexdigest()


def refuse_other_process(model: Model, channels: int, classes: int, streams: Streams, images: Tensor) -> None:
    """Raises `UserError` where a person's network starts from other weights in another process; checked if its sources
    allow for that."""
    if not may_differ(user_sources(model.name).values()):
        return
    module = build(model, channels, classes, streams, images)
    with readable(model.name) as name:
        if not name:  # given from Python, and not to be had elsewhere
            return
        there = hashes_elsewhere(model.model_copy(update={"name": name}), channels, classes, streams, images)
    if there and there != f"{weights_hash(module)} {buffers_hash(module)}":
        raise UserError(
            f"{model.name} starts with other weights in another process",
            expected=f"{REPEATABLE}, no order of a set, no hash() or id()",
            where=WHERE,
        )


def _bytes(tensor: Tensor) -> bytes:
    """The values in row-major order, of any type."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
