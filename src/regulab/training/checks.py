"""Checks of one plain network before anything trains: what it takes, what it gives, and what in it takes part."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from regulab.errors import UserError
from regulab.models.dropout import Dropout
from regulab.techniques import Technique
from regulab.techniques.dropout import Dropout as DropoutTechnique
from regulab.training.crew import CHECKED_IMAGES, Material


def bytes_per_image(material: Material, module: nn.Module) -> int:
    """Memory of one image's activations in one run's training step: the outputs of all layers, and their gradients.

    Raises `UserError` where the network cannot take images of this size.
    """
    module, outputs, where = copy.deepcopy(module).eval(), [0], f"model {material.study.model.name}"

    def count(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            outputs[0] += output.numel()

    for layer in module.modules():
        if not any(True for _ in layer.children()):
            layer.register_forward_hook(count)
    x = material.preprocessing.normalize(material.preprocessing.to_unit(material.train.pixels[:1].cpu()))
    try:
        with torch.no_grad():
            y = module(x)
    except Exception as error:  # a person's forward pass may fail in any way
        _, c, h, w = x.shape
        raise UserError(
            f"the model cannot take these images: {error}", got=f"{c}×{h}×{w}", where=where
        ) from error
    if not isinstance(y, torch.Tensor) or y.shape != (1, material.classes):
        shape = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
        raise UserError(
            "wrong output for one image", got=str(shape), expected=f"(1, {material.classes})", where=where
        )
    return 2 * outputs[0] * material.machine.activations.itemsize


def check_model(material: Material, arms: Mapping[str, tuple[Technique, ...]]) -> None:
    """Raises `UserError` where an arm sets the rate of dropout layers that the network has not, or where a parameter

    takes no part in the output, so that an optimizer has nothing to do with it.
    """
    for group, module in zip(material.architectures, material.examples(), strict=True):
        _check_module(material, module.eval(), {arm: arms[arm] for arm in group})


def _check_module(material: Material, module: nn.Module, arms: Mapping[str, tuple[Technique, ...]]) -> None:
    where = f"model {material.study.model.name}"
    has_dropout = any(isinstance(layer, Dropout) for layer in module.modules())
    for arm, techniques in arms.items():
        if not has_dropout and any(t.name == "dropout" and t != DropoutTechnique(rate=0) for t in techniques):
            raise UserError(f"arm {arm} has dropout, and the model no dropout layer", where=where)
    pixels = material.train.pixels[:CHECKED_IMAGES].cpu()
    module(material.preprocessing.normalize(material.preprocessing.to_unit(pixels))).sum().backward()
    unused = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    if unused:
        raise UserError(
            "parameters that take no part in the output",
            got=", ".join(unused),
            expected="all used, or frozen with requires_grad_(False)",
            where=where,
        )
