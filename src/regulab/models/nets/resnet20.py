"""resnet20: the residual network of He et al. for images of 32×32, with any depth 6n + 2 and any width."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from regulab.config import Model, Part
from regulab.errors import UserError
from regulab.models.layers.block import HeConv2d, relu
from regulab.models.layers.pooling import mean_over_map
from regulab.models.layers.residual import stage
from regulab.models.net import Net, Size, args_of
from regulab.models.norm import Norm, activates

DEPTH = 20


class ResNet20Args(Part):
    """The parameters of ``resnet20``."""

    width: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=16,
        description="Channels of the first stage; the second has twice, the third four times as many.",
    )
    shortcut: Literal["A", "B"] = Field(
        default="A",
        description="Where the shape changes: `A` takes every second pixel and adds channels of zeros, without "
        "parameters; `B` is a 1×1 convolution with a norm.",
    )


class ResNet20(nn.Module):
    """``(B, C, H, W)``, H, W ≥ 4, to logits ``(B, classes)``: 3×3 convolution, three stages, mean, linear."""

    def __init__(
        self, in_channels: int, classes: int, norm: Norm, model: Model, size: Size | None = None
    ) -> None:
        super().__init__()
        args, depth, rate = args_of(ResNet20Args, model), model.depth or DEPTH, model.dropout or 0.0
        if depth % 6 != 2 or depth < 8:
            near = 6 * max(1, round((depth - 2) / 6)) + 2
            raise UserError(
                "no depth of this network",
                got=depth,
                expected=f"6n + 2, such as {near}",
                where="model.depth",
            )
        blocks, width, projects = (depth - 2) // 6, args.width, args.shortcut == "B"
        self.conv1 = HeConv2d(in_channels, width, 3, 1, 1, bias=not norm.shifts)
        self.bn1, self.activates = norm.build(width), activates(norm)
        self.layer1 = stage(width, width, blocks, 1, norm, rate, projects=projects)
        self.layer2 = stage(width, 2 * width, blocks, 2, norm, rate, projects=projects)
        self.layer3 = stage(2 * width, 4 * width, blocks, 2, norm, rate, projects=projects)
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.bn1(self.conv1(x)), self.activates)
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(mean_over_map(x))
        return logits


RESNET20 = Net(
    name="resnet20",
    summary=f"the residual network for 32×32 pixels; `depth` 6n + 2 (default {DEPTH}), args width and shortcut",
    description=(
        "conv 3×3 → norm → ReLU, then three stages of n blocks (conv 3×3 → norm → ReLU → dropout → conv 3×3 → norm,\n"
        "plus the shortcut, ReLU) with 16, 32 and 64 channels, the second and third at half the size of the maps\n"
        "before; then the mean over the map and a linear layer. Initial weights have variance 2/fan_in.\n"
        "Source: He et al. 2016 (arXiv 1512.03385), section 4.2, with the shortcuts A of its experiments."
    ),
    build=ResNet20,
    takes=frozenset({"norm", "depth"}),
    args=ResNet20Args,
    usual=(3, 32, 32),
    least=4,
    made_for=(24, 64),
    examples=(
        Model(name="resnet20", depth=8, args={"width": 4}),
        Model(name="resnet20", depth=14, args={"width": 3, "shortcut": "B"}),
    ),
)
