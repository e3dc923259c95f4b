"""linear: softmax regression, the network without a hidden layer."""

from __future__ import annotations

from torch import Tensor, nn

from regulab.config import Model
from regulab.models.layers.dropout import ElementDropout
from regulab.models.net import Net, Size
from regulab.models.norm import Norm


class SoftmaxRegression(nn.Module):
    """Logits W·x + b: ``(B, C, H, W)`` to ``(B, classes)``; W has a weight for each class, channel and pixel."""

    def __init__(self, in_channels: int, classes: int, norm: Norm, model: Model, size: Size | None) -> None:
        super().__init__()
        assert size is not None
        self.dropout = ElementDropout(model.dropout or 0.0)
        self.classify = nn.Linear(in_channels * size[0] * size[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.dropout(x.flatten(1)))
        return logits


LINEAR = Net(
    name="linear",
    summary="softmax regression: dropout of pixels, and one linear layer",
    description=(
        "logits = W·x + b, with a weight for each class, channel and pixel. Under cross-entropy the loss is convex:\n"
        "what a penalty does to the weights can be seen here without a network's other minima. Dropout sets inputs\n"
        "to 0. It has weights for images of one size only."
    ),
    build=SoftmaxRegression,
    takes=frozenset(),
    usual=(1, 28, 28),
    examples=(Model(name="linear"),),
)
