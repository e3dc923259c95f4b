"""Initial weights from a file: read as plain tensors, matched by name, refused where they are another network's."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from regulab.config.network import GivenWeights
from regulab.errors import UserError

WHERE = "model.weights"
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
NESTED = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module",
)  # fmt: skip
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")  # of DataParallel, torch.compile, trainers
UNCOUNTED = (
    "num_batches_tracked"  # a count of torch's batch norm, which nothing reads where momentum is a number
)
SHOWN = 6
UNSAFE = (
    "a pickle of objects that are not tensors, which would run code when it is read: save the weights alone, "
    "torch.save(model.state_dict(), FILE) or safetensors.torch.save_file"
)


@dataclass(frozen=True)
class WeightsFile:
    """What a file holds: tensors by name, the key that they stood under, and the SHA-256 of its bytes."""

    tensors: Mapping[str, Tensor]
    nested: str
    digest: str


_known: dict[str, tuple[tuple[int, ...], WeightsFile]] = {}  # by path, with the file's state when it was read


def read(given: GivenWeights) -> WeightsFile:
    """The file as this process first read it. Raises `UserError` for what is no file of weights."""
    path = _path(given)
    if str(path) not in _known:
        state = _state(given, path)
        try:
            _known[str(path)] = (state, _parsed(given, path, path.read_bytes()))
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
            raise _unreadable(given, problem, "a file of weights") from error
    return _known[str(path)][1]


def refresh_weights(given: GivenWeights) -> None:
    """Forgets the file if it has changed since: for the beginning of a study, whose runs all start from one content."""
    path = _path(given)
    if str(path) in _known and _known[str(path)][0] != _state(given, path):
        del _known[str(path)]


def _path(given: GivenWeights) -> Path:
    path = Path(os.path.realpath(os.path.expanduser(given.file)))
    if path.suffix.lower() not in SUFFIXES:
        raise _unreadable(given, "no file of weights", f"one that ends with {', '.join(SUFFIXES)}")
    return path


def _state(given: GivenWeights, path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(given, f"cannot be read: {error.strerror}", "a file of weights") from error
    if not path.is_file():
        raise _unreadable(given, "a folder or a device", "a file of weights")
    return status.st_mtime_ns, status.st_size, status.st_ino


def _unreadable(given: GivenWeights, problem: str, expected: str, cure: str = "") -> UserError:
    return UserError(problem, got=given.file, expected=expected, where=WHERE, cure=cure)


def _parsed(given: GivenWeights, path: Path, content: bytes) -> WeightsFile:
    found: Any
    try:
        if path.suffix.lower() == ".safetensors":
            found = load_safetensors(content)
        else:
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except SafetensorError as error:
        problem = f"no safetensors file, or one that was cut ({' '.join(str(error).split())})"
        raise _unreadable(given, problem, "a whole file of weights") from error
    except pickle.UnpicklingError as error:
        if "Weights only load failed" in str(error) and "GLOBAL" in str(error):
            raise _unreadable(given, f"holds {_class_in(str(error))}", "tensors alone", UNSAFE) from error
        raise _unreadable(
            given, "no file of weights, or one that was cut", "what torch.save writes"
        ) from error
    except (
        Exception
    ) as error:  # torch's reader raises whatever its parts do: RuntimeError, EOFError, KeyError …
        raise _unreadable(
            given, "no file of weights, or one that was cut", "what torch.save writes"
        ) from error
    nested = ""
    while isinstance(found, Mapping) and not any(isinstance(value, Tensor) for value in found.values()):
        key = next((key for key in NESTED if isinstance(found.get(key), Mapping)), None)
        if key is None:
            break
        found, nested = found[key], f"{nested}.{key}".lstrip(".")
    tensors = _named(found)
    if not tensors:
        got = (
            f"keys {', '.join(map(str, list(found)[:SHOWN]))}" if isinstance(found, Mapping) else type(found)
        )
        raise UserError(
            "holds no tensors by name", got=got, expected="a state_dict", where=f"{WHERE} {given.file}"
        )
    return WeightsFile(tensors, nested, hashlib.sha256(content).hexdigest())


def _named(found: Any) -> dict[str, Tensor]:
    items = found.items() if isinstance(found, Mapping) else ()
    return {str(name): value for name, value in items if isinstance(value, Tensor)}


def _class_in(message: str) -> str:
    """The class that torch's reader stumbled over."""
    named = re.search(r"GLOBAL (\S+)", message)
    return f"an object of {named[1]}" if named else "objects"


def load_into(module: nn.Module, given: GivenWeights, network: str) -> None:
    """Gives a module's parameters and buffers the file's values, but for those that ``given.skip`` names.

    Names and shapes must be the same, apart from prefixes such as ``module.`` that all names of the file have. Raises
    `UserError` that names what differs, and writes nothing then.
    """
    targets = _targets(module)
    tensors = _without_prefix(read(given).tensors, targets)
    _refuse_idle_patterns(given, [*targets, *tensors])
    wanted = {name: tensor for name, tensor in targets.items() if not _matches(name, given.skip)}
    offered = {name: tensor for name, tensor in tensors.items() if not _matches(name, given.skip)}
    taken = {id(wanted[name]) for name in offered if name in wanted}
    optional = set(targets) - _saved(module)
    missing = [
        name
        for name, tensor in wanted.items()
        if id(tensor) not in taken and name not in optional and not name.endswith(UNCOUNTED)
    ]
    unexpected = [name for name in offered if name not in wanted and not name.endswith(UNCOUNTED)]
    shapes = [name for name in offered if name in wanted and offered[name].shape != wanted[name].shape]
    if missing or unexpected or shapes:
        raise _another_network(given, network, missing, unexpected, shapes, offered, wanted)
    _refuse_values(given, {name: tensor for name, tensor in offered.items() if name in wanted})
    with torch.no_grad():
        for name, tensor in offered.items():
            if name in wanted:
                wanted[name].copy_(tensor)


def _targets(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by all of their names: what two layers share has two."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def _saved(module: nn.Module) -> set[str]:
    return set(module.state_dict())


def _without_prefix(tensors: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = dict(tensors)
    while not any(name in targets for name in found):
        prefix = next((one for one in PREFIXES if all(name.startswith(one) for name in found)), None)
        if prefix is None:
            break
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _refuse_idle_patterns(given: GivenWeights, names: Sequence[str]) -> None:
    for pattern in given.skip:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise no_match(pattern, names, f"{WHERE}.skip")


def no_match(pattern: str, names: Sequence[str], where: str) -> UserError:
    """The error for a pattern that no name fits; it lists the layers there are."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    more = f" and {len(layers) - 2 * SHOWN} more" if len(layers) > 2 * SHOWN else ""
    listed = f"{', '.join([*layers[:SHOWN], *layers[SHOWN:][-SHOWN:]])}{more}"
    return UserError(
        "matches no name of the network",
        got=pattern,
        expected=f"a pattern such as {layers[0]}.*",
        where=where,
        cure=f"its layers: {listed}",
    )


def _another_network(
    given: GivenWeights,
    network: str,
    missing: Sequence[str],
    unexpected: Sequence[str],
    shapes: Sequence[str],
    offered: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
) -> UserError:
    both = [
        f"{name} {_shape(offered[name])} in the file, {_shape(wanted[name])} in the network"
        for name in shapes
    ]
    found = [
        f"{len(names)} {what}: {'; '.join(names[:SHOWN])}{' …' if len(names) > SHOWN else ''}"
        for what, names in (
            ("of another shape", both),
            ("missing in the file", missing),
            ("not in the network", unexpected),
        )
        if names
    ]
    layers = sorted({name.rpartition(".")[0] for name in [*missing, *unexpected, *shapes]})
    cure = "give the network whose weights these are"
    if len(layers) == 1 and layers[0]:
        cure = f'for a new layer write `weights: {{file: {given.file}, skip: ["{layers[0]}.*"]}}`'
    return UserError(
        f"weights of another network than {network}: {'. '.join(found)}",
        expected="the same names and shapes",
        where=f"{WHERE} {given.file}",
        cure=cure,
    )


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"


def _refuse_values(given: GivenWeights, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        problem = ""
        if tensor.is_quantized or tensor.is_complex() or tensor.layout != torch.strided:
            problem = "quantized, complex or sparse"
        elif tensor.is_floating_point() and not tensor.isfinite().all():
            problem = "not finite"
        elif not tensor.is_floating_point() and tensor.ndim >= 2:
            problem = f"of type {str(tensor.dtype).removeprefix('torch.')}"
        if problem:
            raise UserError(
                f"{name} is {problem}", expected="numbers in floating point", where=f"{WHERE} {given.file}"
            )
