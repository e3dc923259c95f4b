"""deep: a stack of convolutions of any depth, without shortcuts, to see what depth does."""

from __future__ import annotations

from torch import Tensor, nn

from regulab.config import Model
from regulab.models.layers.block import Block, HeConv2d
from regulab.models.layers.pooling import mean_over_map
from regulab.models.net import Net, Size
from regulab.models.norm import Norm

WIDTH = 16
DEPTH = 8


class Deep(nn.Module):
    """``(B, C, H, W)``, H, W ≥ 4, to logits ``(B, classes)``: ``model.depth`` blocks, global average pooling, linear.

    The first block and the one in the middle halve the map.
    """

    def __init__(
        self, in_channels: int, classes: int, norm: Norm, model: Model, size: Size | None = None
    ) -> None:
        super().__init__()
        depth = model.depth or DEPTH
        inputs = (in_channels, *[WIDTH] * (depth - 1))
        self.blocks = nn.Sequential(
            *(Block(c, WIDTH, norm, model, i in (0, depth // 2), HeConv2d) for i, c in enumerate(inputs))
        )
        self.classify = nn.Linear(WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classify(mean_over_map(self.blocks(x)))
        return logits


DEEP = Net(
    name="deep",
    summary=f"any `depth` (default {DEPTH}) of 3×3 convolutions, 16 channels, norm, ReLU, dropout; no shortcuts",
    description=(
        "conv 3×3 → [max pool 2×2] → norm → ReLU → dropout, `depth` times, pooled in the first block and in the one\n"
        "in the middle; then the mean over the map and a linear layer. Initial weights have variance 2/fan_in (He et\n"
        "al. 2015, arXiv 1502.01852), so that without a norm, too, signals keep their size at the start."
    ),
    build=Deep,
    usual=(1, 28, 28),
    least=4,
    takes=frozenset({"norm", "norm_position", "depth"}),
    examples=(Model(name="deep", depth=3), Model(name="deep", depth=1, norm_position="after")),
)
