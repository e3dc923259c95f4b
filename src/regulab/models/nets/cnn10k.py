"""cnn10k: the small network of the assignment, under 10,000 parameters."""

from __future__ import annotations

from torch import Tensor, nn

from regulab.config import Model
from regulab.models.layers.block import Block
from regulab.models.layers.pooling import mean_over_map
from regulab.models.net import Net, Size
from regulab.models.norm import Norm

WIDTH = 16
POOLED = (True, False, True, False, False)  # which of the five blocks halve the map


class CNN10k(nn.Module):
    """``(B, C, H, W)``, 8 ≤ H, W ≤ 64, to logits ``(B, classes)``: five blocks, global average pooling, linear."""

    def __init__(
        self, in_channels: int, classes: int, norm: Norm, model: Model, size: Size | None = None
    ) -> None:
        super().__init__()
        inputs = (in_channels, *[WIDTH] * (len(POOLED) - 1))
        self.blocks = nn.Sequential(
            *(Block(i, WIDTH, norm, model, pooled) for i, pooled in zip(inputs, POOLED, strict=True))
        )
        self.classify = nn.Linear(WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classify(mean_over_map(self.blocks(x)))
        return logits


CNN10K = Net(
    name="cnn10k",
    summary="five 3×3 convolutions of 16 channels with normalization, ReLU, dropout; global average pooling",
    description=(
        "conv 3×3 (no bias before a norm that shifts) → [max pool 2×2] → norm → ReLU → dropout, five times, pooled in\n"
        "blocks 1 and 3; then the mean over the map and a linear layer. 9,690 parameters for one input channel and\n"
        "ten classes, 9,978 for three channels. Images from 8×8 to 64×64. `norm_position: after` puts ReLU before the\n"
        "norm."
    ),
    build=CNN10k,
    usual=(1, 28, 28),
    least=4,
    made_for=(8, 64),
    examples=(Model(name="cnn10k"), Model(name="cnn10k", norm_position="after")),
)
