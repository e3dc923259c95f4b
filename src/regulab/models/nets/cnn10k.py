"""cnn10k: the small network of the assignment, under 10,000 parameters."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.dropout import Dropout
from regulab.models.parts import Net, Norm

WIDTH = 16
POOLED = (True, False, True, False, False)  # which of the five blocks halve the map


class Block(nn.Module):
    """3×3 convolution, 2×2 max pooling in some blocks, normalization, ReLU, dropout.

    Pooling stands before normalization: it commutes with ReLU, and everything after it touches a
    quarter of the memory.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm, dropout: float, pooled: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=not norm.shifts)
        self.pool = nn.MaxPool2d(2) if pooled else nn.Identity()
        self.norm = norm.build(outputs)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(F.relu(self.norm(self.pool(self.conv(x)))))


class CNN10k(nn.Module):
    """``(B, C, H, W)``, 8 ≤ H, W ≤ 64, to logits ``(B, classes)``: five blocks, global average pooling, linear."""

    def __init__(self, in_channels: int, classes: int, norm: Norm, dropout: float | None) -> None:
        super().__init__()
        inputs = (in_channels, *[WIDTH] * (len(POOLED) - 1))
        self.blocks = nn.Sequential(
            *(Block(i, WIDTH, norm, dropout or 0.0, pooled) for i, pooled in zip(inputs, POOLED, strict=True))
        )
        self.classify = nn.Linear(WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.blocks(x).mean((2, 3)))


CNN10K = Net(
    name="cnn10k",
    summary="five 3×3 convolutions of 16 channels with normalization, ReLU, dropout; global average pooling",
    description=(
        "conv 3×3 (no bias before a norm that shifts) → [max pool 2×2] → norm → ReLU → dropout, five times, pooled in\n"
        "blocks 1 and 3; then the mean over the map and a linear layer. 9,690 parameters for one input channel and\n"
        "ten classes, 9,978 for three channels. Images from 8×8 to 64×64."
    ),
    build=CNN10k,
)
