"""resnet18: the residual network of He et al. for photographs, with the names of torchvision's layers."""

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

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
SMALL = 48  # pixels of the shorter side: the stem of 7×7 and pooling would leave maps of 12×12 and less for four stages


class ResNet18Args(Part):
    """The parameters of ``resnet18``."""

    width: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=64, description="Channels of the first stage; each later one has twice as many."
    )
    stem: Literal["auto", "photo", "small"] = Field(
        default="auto",
        description=f"`photo`: 7×7 with stride 2 and max pooling, a quarter of the size; `small`: 3×3 at full size; "
        f"`auto`: small where the shorter side has {SMALL} pixels or less.",
    )


class ResNet18(nn.Module):
    """``(B, C, H, W)`` to logits ``(B, classes)``: a stem, four stages, mean, linear."""

    def __init__(self, in_channels: int, classes: int, norm: Norm, model: Model, size: Size | None) -> None:
        super().__init__()
        args, depth, rate = args_of(ResNet18Args, model), model.depth or 18, model.dropout or 0.0
        if depth not in BLOCKS:
            raise UserError("no depth of this network", got=depth, expected="18 or 34", where="model.depth")
        assert size is not None
        small = args.stem == "small" or (args.stem == "auto" and min(size) <= SMALL)
        width, blocks = args.width, BLOCKS[depth]
        kernel, stride, padding = (3, 1, 1) if small else (7, 2, 3)
        self.conv1 = HeConv2d(in_channels, width, kernel, stride, padding, bias=not norm.shifts)
        self.bn1, self.activates = norm.build(width), activates(norm)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.layer1 = stage(width, width, blocks[0], 1, norm, rate, projects=True)
        self.layer2 = stage(width, 2 * width, blocks[1], 2, norm, rate, projects=True)
        self.layer3 = stage(2 * width, 4 * width, blocks[2], 2, norm, rate, projects=True)
        self.layer4 = stage(4 * width, 8 * width, blocks[3], 2, norm, rate, projects=True)
        self.fc = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(relu(self.bn1(self.conv1(x)), self.activates))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(mean_over_map(x))
        return logits


RESNET18 = Net(
    name="resnet18",
    summary="the residual network for photographs of 64 to 224 pixels; `depth` 18 or 34, args width and stem",
    description=(
        "conv 7×7, stride 2 → norm → ReLU → max pool 3×3, stride 2; then four stages of two blocks each (conv 3×3 →\n"
        "norm → ReLU → dropout → conv 3×3 → norm, plus the shortcut, ReLU) with 64, 128, 256 and 512 channels, each\n"
        "at half the size of the maps before, shortcuts of 1×1 convolutions where the shape changes; then the mean\n"
        f"over the map and a linear layer. Images of {SMALL} pixels or less get a stem of 3×3 at full size. Initial\n"
        "weights have variance 2/fan_in. Layers are called as in torchvision, whose weights fit (`weights: FILE`),\n"
        'for another number of classes with `skip: ["fc.*"]`.\n'
        "Source: He et al. 2016 (arXiv 1512.03385), table 1."
    ),
    build=ResNet18,
    takes=frozenset({"norm", "depth"}),
    args=ResNet18Args,
    usual=(3, 224, 224),
    least=8,
    made_for=(24, 320),
    examples=(
        Model(name="resnet18", args={"width": 3}),
        Model(name="resnet18", args={"width": 2, "stem": "photo"}),
    ),
)
