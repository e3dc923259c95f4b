"""What a network keeps outside its parameters and buffers: counters, running values, generators of its own.

PyTorch's ``state_dict`` does not hold them, so without this a network that was stopped and went on would be another
one.
"""

from __future__ import annotations

import base64
import json
import random
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regulab.models.layers.draws import RandomLayer

COMMON = frozenset(vars(nn.Module()))  # what every module has
OPAQUE = ["opaque"]  # nothing is known of its content
DICTS = (dict, OrderedDict, defaultdict)
NOT_STATE = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)
DEEPEST = 8  # of values within values


class Attributes:
    """The attributes of a network and all its layers, as they were at the beginning, and what has become of them."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._layers = frozenset(path for path, _ in module.named_modules(remove_duplicate=False))
        self._first = dict(self._encoded())

    def changed(self) -> dict[str, str]:
        """For each attribute that is no longer as it was at the beginning, by its path, its value as JSON."""
        now = dict(self._encoded())
        return {path: text for path, text in now.items() if self._first.get(path) != text}

    def first(self) -> dict[str, str]:
        """All attributes at the beginning."""
        return dict(self._first)

    def restore(self, values: dict[str, str]) -> None:
        """Sets the attributes that `changed` gave; the others stay."""
        for path, text in values.items():
            layer, _, name = path.rpartition(".")
            owner = self._module.get_submodule(layer)
            setattr(owner, name, _decoded(json.loads(text), vars(owner).get(name)))

    def reset(self) -> None:
        """Resets everything to the beginning, as far as the values can be known; attributes and layers added since are
        removed."""
        self._remove_added_layers()
        now = dict(self._encoded())
        self.restore({path: text for path, text in self._first.items() if now.get(path) != text})
        for path in now.keys() - self._first.keys():
            layer, _, name = path.rpartition(".")
            delattr(self._module.get_submodule(layer), name)

    def _remove_added_layers(self) -> None:
        """Layers that a forward pass made: ``if self.fc is None: self.fc = nn.Linear(…)``."""
        for path, layer in list(self._module.named_modules(remove_duplicate=False)):
            if path in self._layers:
                for name in list(layer._modules):
                    if f"{path}.{name}".lstrip(".") not in self._layers and layer._modules[name] is not None:
                        del layer._modules[name]

    def to_tensor(self) -> Tensor | None:
        """What has changed, as bytes in a uint8 tensor; None where nothing has."""
        changed = self.changed()
        if not changed:
            return None
        return torch.frombuffer(bytearray(json.dumps(changed).encode()), dtype=torch.uint8)

    def from_tensor(self, tensor: Tensor) -> None:
        self.restore(json.loads(bytes(tensor.cpu().numpy())))

    def _encoded(self) -> Iterator[tuple[str, str]]:
        registered = {id(part) for part in self._module.modules()}
        registered |= {id(tensor) for tensor in (*self._module.parameters(), *self._module.buffers())}
        for path, layer in self._module.named_modules():
            for name, value in vars(layer).items():
                if name in COMMON or (name == "draw" and isinstance(layer, RandomLayer)):
                    continue
                yield f"{path}.{name}".lstrip("."), json.dumps(_encoded(value, set(registered), DEEPEST))


def as_text(value: Any) -> str:
    """A value as text that is equal for equal values."""
    return json.dumps(_encoded(value, set(), DEEPEST))


def _encoded(value: Any, seen: set[int], depth: int) -> Any:
    """A value as JSON knows it: itself, or a list of its kind and its parts."""
    if value is None or isinstance(value, bool | str) or type(value) in (int, float):
        return value
    if depth == 0 or id(value) in seen or isinstance(value, NOT_STATE):
        return OPAQUE
    if not isinstance(value, int | float | complex | bytes):
        seen = seen | {id(value)}

    def inner(part: Any) -> Any:
        return _encoded(part, seen, depth - 1)

    if isinstance(value, np.random.Generator):
        return ["numpy generator", inner(value.bit_generator.state)]
    if isinstance(value, np.random.RandomState):
        return ["numpy state", inner(value.get_state(legacy=False))]
    if isinstance(value, random.Random):
        return ["python generator", inner(value.getstate())]
    if isinstance(value, torch.Generator):
        return ["torch generator", inner(value.get_state())]
    if type(value) in (list, tuple, set, frozenset, deque):
        parts = [inner(part) for part in value]
        unordered = isinstance(value, set | frozenset)
        return [type(value).__name__, sorted(parts, key=json.dumps) if unordered else parts]
    if type(value) in DICTS:
        return ["dict", [[inner(key), inner(part)] for key, part in value.items()]]
    if isinstance(value, Tensor):
        return _encoded_tensor(value)
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.hasobject:
            return OPAQUE
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        return [kind, array.dtype.str, list(array.shape), base64.b64encode(array.tobytes()).decode()]
    if isinstance(value, bytes):
        return ["bytes", base64.b64encode(value).decode()]
    if hasattr(value, "__dict__"):
        return ["object", [[name, inner(part)] for name, part in vars(value).items()]]
    return OPAQUE


def _encoded_tensor(tensor: Tensor) -> Any:
    if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
        return OPAQUE
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    kind = str(tensor.dtype).removeprefix("torch.")
    return ["tensor", kind, list(tensor.shape), base64.b64encode(flat.tobytes()).decode()]


def _decoded(content: Any, present: Any) -> Any:
    """The value of what `_encoded` gave. ``present`` is what stands there now: kept, or changed, where it can be."""
    if not isinstance(content, list):
        return content
    kind, *parts = content
    if kind == "opaque":
        return present
    if kind in DECODERS:
        return DECODERS[kind](parts, present)
    raise AssertionError(f"an attribute of kind {kind}")


def _sequence(make: Callable[[list[Any]], Any]) -> Callable[[list[Any], Any], Any]:
    def decode(parts: list[Any], present: Any) -> Any:
        old = list(present) if isinstance(present, list | tuple | deque) else []
        old += [None] * (len(parts[0]) - len(old))
        values = [_decoded(part, was) for part, was in zip(parts[0], old, strict=False)]
        if isinstance(present, deque):
            return deque(values, present.maxlen)
        return make(values)

    return decode


def _dict(parts: list[Any], present: Any) -> Any:
    old = present if isinstance(present, dict) else {}
    values = {}
    for key_content, content in parts[0]:
        key = _decoded(key_content, None)
        values[key] = _decoded(content, old.get(key))
    if type(present) in DICTS:
        present.clear()
        present.update(values)
        return present
    return values


def _object(parts: list[Any], present: Any) -> Any:
    for name, content in parts[0]:
        vars(present)[name] = _decoded(content, vars(present).get(name))
    return present


def _tensor(parts: list[Any], present: Any) -> Tensor:
    kind, shape, data = parts
    raw = torch.frombuffer(bytearray(base64.b64decode(data)), dtype=torch.uint8) if data else torch.empty(0)
    tensor = (
        raw.view(getattr(torch, kind)).reshape(shape)
        if data
        else torch.empty(shape, dtype=getattr(torch, kind))
    )
    return tensor.to(present.device) if isinstance(present, Tensor) else tensor


def _array(parts: list[Any], _present: Any) -> Any:
    kind, shape, data = parts
    return np.frombuffer(base64.b64decode(data), np.dtype(kind)).reshape(shape).copy()


def _generator(setter: Callable[[Any, Any], None]) -> Callable[[list[Any], Any], Any]:
    def decode(parts: list[Any], present: Any) -> Any:
        if present is not None:
            setter(present, _decoded(parts[0], None))
        return present

    return decode


DECODERS: dict[str, Callable[[list[Any], Any], Any]] = {
    "list": _sequence(list),
    "tuple": _sequence(tuple),
    "set": _sequence(set),
    "frozenset": _sequence(frozenset),
    "deque": _sequence(deque),
    "dict": _dict,
    "object": _object,
    "tensor": _tensor,
    "array": _array,
    "scalar": lambda parts, _: _array(parts, None)[()],
    "bytes": lambda parts, _: base64.b64decode(parts[0]),
    "numpy generator": _generator(lambda one, state: setattr(one.bit_generator, "state", state)),
    "numpy state": _generator(lambda one, state: one.set_state(state)),
    "python generator": _generator(lambda one, state: one.setstate(state)),
    "torch generator": _generator(lambda one, state: one.set_state(state)),
}
