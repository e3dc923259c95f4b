"""How a person's constructor is called: which of its parameters regulab fills, by their names, and `model.args`."""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from regulab.config import Model
from regulab.errors import UserError, did_you_mean, shown
from regulab.models.norm import Norm

ARGS = "model.args"
# What people call these. The names of the first rows mean one thing wherever they stand, so a default gives way; those
# of the second mean other things elsewhere (the width of a layer), and are filled where nothing else could be.
CLASSES = (
    "classes", "num_classes", "n_classes", "nclasses", "nclass", "n_class", "num_class", "nb_classes", "num_labels",
    "n_labels", "number_of_classes",
)  # fmt: skip
CHANNELS = (
    "in_channels", "in_chans", "in_ch", "in_chan", "input_channels", "num_input_channels", "n_input_channels",
    "image_channels", "img_channels",
)  # fmt: skip
SIZES = ("img_size", "image_size", "im_size", "imsize", "input_resolution")
REQUIRED_CLASSES = ("out_features", "num_outputs", "n_outputs", "output_dim", "out_dim", "output_size")
REQUIRED_CHANNELS = ("channels", "n_channels", "num_channels")
REQUIRED_FEATURES = ("in_features", "input_dim", "n_inputs", "num_inputs")
OURS = (
    "in_channels",
    "classes",
    "norm",
    "norm_position",
    "depth",
    "dropout",
)  # what regulab itself calls these
OFFERED = f"{', '.join(OURS[:-1])} and {OURS[-1]}, or num_classes, in_chans, img_size and their like"
TRIED = {  # of a factory that takes any name and passes it on, the most usual first
    "classes": ("num_classes", *(name for name in CLASSES if name != "num_classes")),
    "channels": ("in_chans", *(name for name in CHANNELS if name != "in_chans")),
    "size": SIZES,
}
DOWNLOADS = {
    "pretrained": (None, False),
    "weights": (None, False),
}  # of timm and torchvision: what asks for no file
NO_DOWNLOAD = (
    "write `weights: FILE` beside the name, with a file that you have: regulab downloads no weights, which could be "
    "others tomorrow"
)
UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


@dataclass(frozen=True)
class Sizes:
    """What a network is for: images ``(B, channels, H, W)``, ``size`` (H, W) if that is known, and classes."""

    channels: int
    classes: int
    size: tuple[int, int] | None

    def of(self, kind: str, like: object = None) -> Any:
        """The value of a parameter; ``like`` is its default, which says whether it takes a size as a pair."""
        if kind == "classes":
            return self.classes
        if kind == "channels":
            return self.channels
        if self.size is None:
            return None
        if kind == "features":
            return self.channels * self.size[0] * self.size[1]
        if isinstance(like, tuple | list):
            return self.size
        return self.size[0] if self.size[0] == self.size[1] else None


@dataclass(frozen=True)
class Signature:
    """The parameters of a factory that can be given by name; ``is_open``: it takes any name (``**kwargs``)."""

    text: str
    parameters: Mapping[str, inspect.Parameter]
    is_open: bool

    @classmethod
    def of(cls, factory: Callable[..., Any], called: str) -> Signature:
        found = inspect.signature(factory)
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        known = {name: one for name, one in found.parameters.items() if one.kind in by_name}
        is_open = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in found.parameters.values())
        return cls(f"{called}{found}", known, is_open)


def kind_of(name: str, parameter: inspect.Parameter) -> str:
    """Which of the sizes a parameter takes; empty: none that regulab knows of."""
    required = parameter.default is inspect.Parameter.empty
    for kind, always, if_required in (
        ("classes", CLASSES, REQUIRED_CLASSES),
        ("channels", CHANNELS, REQUIRED_CHANNELS),
        ("size", SIZES, ()),
        ("features", (), REQUIRED_FEATURES),
    ):
        if name in always or (required and name in if_required):
            return kind
    return ""


def filled(signature: Signature, model: Model, norm: Norm, sizes: Sizes) -> dict[str, Any]:
    """What regulab gives of the parameters that a factory has: regulab's own names, then sizes by other names."""
    ours = {
        "norm": norm.build,
        "norm_position": model.norm_position,
        "depth": model.depth,
        "dropout": model.dropout,
    }
    found = {name: ours[name] for name in ours if name in signature.parameters and ours[name] is not None}
    kinds = {name: kind_of(name, one) for name, one in signature.parameters.items()}
    if "classes" in (kinds[name] for name in kinds if name in CLASSES):
        kinds = {name: kind for name, kind in kinds.items() if name not in REQUIRED_CLASSES}
    for name, kind in kinds.items():
        value = sizes.of(kind, signature.parameters[name].default) if kind else None
        if value is not None:
            found[name] = value
    return found


def refuse_args(signature: Signature, model: Model, sizes: Sizes) -> None:
    """Raises `UserError` for arguments that the factory has not, or that are for other images or classes."""
    for name, value in (model.args or {}).items():
        where = f"{ARGS}.{name}"
        if name not in signature.parameters and not signature.is_open:
            raise UserError(
                "no such parameter",
                got=name,
                expected=f"one of {signature.text}",
                where=where,
                cure=did_you_mean(name, signature.parameters),
            )
        for names, wanted, what in (
            (CLASSES, sizes.classes, "classes"),
            (CHANNELS, sizes.channels, "channels"),
        ):
            if name in names and value != wanted:
                raise UserError(
                    f"the images have {wanted} {what}", got=value, expected=str(wanted), where=where,
                    cure=f"leave {name} out: regulab fills it",
                )  # fmt: skip
        if name == "depth" and model.depth is not None and value != model.depth:
            raise UserError(
                f"model.depth says {model.depth}", got=value, expected="one of the two", where=where
            )


def refuse_downloads(model: Model) -> None:
    """Raises `UserError` where args ask timm or torchvision for pretrained weights."""
    for name, harmless in DOWNLOADS.items():
        value = (model.args or {}).get(name)
        if value not in harmless:
            raise UserError(
                "pretrained weights need the network", got=value, where=f"{ARGS}.{name}", cure=NO_DOWNLOAD
            )


def called(
    factory: Callable[..., Any], signature: Signature, given: dict[str, Any], model: Model, sizes: Sizes
) -> tuple[Any, dict[str, Any]]:
    """What a factory makes, and what it was called with.

    One that takes any name is offered sizes by the names that are most usual, one after the other: what it or the
    constructor that it passes them to does not know is taken back, and the generators start again where they were.
    """
    given = {**given, **(model.args or {})}
    offers = {kind: iter(names) for kind, names in TRIED.items() if signature.is_open and _lacks(given, kind)}
    tried: dict[str, str] = {}  # name -> kind
    for kind, names in offers.items():
        _offer(given, tried, kind, names, sizes)
    while True:
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
        try:
            return factory(**given), given
        except TypeError as error:
            unknown = UNEXPECTED.search(str(error))
            if unknown is None or unknown[1] not in tried:
                raise
            del given[unknown[1]]
            kind = tried.pop(unknown[1])
            _offer(given, tried, kind, offers[kind], sizes)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def _lacks(given: Mapping[str, Any], kind: str) -> bool:
    names = {"classes": CLASSES, "channels": CHANNELS, "size": SIZES}[kind]
    return not any(name in given for name in names)


def _offer(
    given: dict[str, Any], tried: dict[str, str], kind: str, names: Iterator[str], sizes: Sizes
) -> None:
    name = next(names, None)
    value = sizes.of(kind)
    if name is not None and value is not None:
        given[name], tried[name] = value, kind


def as_called(label: str, given: Mapping[str, Any], model: Model) -> str:
    """``MyNet(num_classes=10, in_chans=1)``, where regulab filled names other than its own or was told some; else
    empty."""
    if not (given.keys() - set(OURS)) and not model.args:
        return ""
    values = [f"{name}={'…' if callable(value) else shown(value)}" for name, value in given.items()]
    return f"{label}({', '.join(values)})"
