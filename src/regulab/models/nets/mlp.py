"""mlp: fully connected layers, which know nothing of which pixels are neighbours."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from regulab.config import Model, Part
from regulab.errors import UserError
from regulab.models.layers.block import relu
from regulab.models.layers.dropout import ElementDropout
from regulab.models.net import Net, Size, args_of
from regulab.models.norm import Norm, activates

DEPTH = 2
Width = Annotated[int, Field(ge=1, le=65536)]


class MLPArgs(Part):
    """The parameters of ``mlp``."""

    width: Width | Annotated[tuple[Width, ...], Field(min_length=1, max_length=200)] = Field(
        default=256, description="Units of every hidden layer, or a list with those of each."
    )


class HiddenLayer(nn.Module):
    """Linear, normalization before or after ReLU, dropout: ``(B, inputs)`` to ``(B, outputs)``.

    A norm sees each unit as a channel of one pixel, ``(B, outputs, 1, 1)``.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm, model: Model) -> None:
        super().__init__()
        self.norm_after, self.activates = model.norm_position == "after", activates(norm)
        self.linear = nn.Linear(inputs, outputs, bias=self.norm_after or not norm.shifts)
        self.norm = norm.build(outputs)
        self.dropout = ElementDropout(model.dropout or 0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)[:, :, None, None]
        x = self.norm(F.relu(x)) if self.norm_after else relu(self.norm(x), self.activates)
        y: Tensor = self.dropout(x.flatten(1))
        return y


class MLP(nn.Module):
    """``(B, C, H, W)`` to logits ``(B, classes)``: all pixels in a row, hidden layers, linear."""

    def __init__(self, in_channels: int, classes: int, norm: Norm, model: Model, size: Size | None) -> None:
        super().__init__()
        assert size is not None
        widths = _widths(model)
        inputs = (in_channels * size[0] * size[1], *widths[:-1])
        self.hidden = nn.Sequential(
            *(HiddenLayer(i, o, norm, model) for i, o in zip(inputs, widths, strict=True))
        )
        self.classify = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.hidden(x.flatten(1)))
        return logits


def _widths(model: Model) -> tuple[int, ...]:
    width = args_of(MLPArgs, model).width
    if isinstance(width, int):
        return (width,) * (model.depth or DEPTH)
    if model.depth not in (None, len(width)):
        raise UserError(
            f"args.width lists {len(width)} hidden layers",
            got=model.depth,
            expected="one of the two",
            where="model.depth",
        )
    return width


PERCEPTRON = Net(
    name="mlp",
    summary=f"`depth` (default {DEPTH}) fully connected hidden layers of 256 units, norm, ReLU, dropout; arg width",
    description=(
        "all pixels in a row → [linear → norm → ReLU → dropout] `depth` times → linear. `args: {width: 512}` sets the\n"
        "units of every hidden layer, `args: {width: [512, 128]}` those of each. It has weights for images of one\n"
        "size only."
    ),
    build=MLP,
    takes=frozenset({"norm", "norm_position", "depth"}),
    args=MLPArgs,
    usual=(1, 28, 28),
    examples=(
        Model(name="mlp", args={"width": 12}),
        Model(name="mlp", depth=3, norm_position="after", args={"width": [9, 7, 5]}),
    ),
)
