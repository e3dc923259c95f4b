"""The block that the networks are built of: convolution, pooling, normalization, ReLU, dropout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.config import Model
from regulab.models.layers.dropout import ElementDropout
from regulab.models.norm import Norm, activates


class Block(nn.Module):
    """3×3 convolution, 2×2 max pooling in some blocks, normalization before or after ReLU, dropout.

    Pooling stands before normalization: it commutes with ReLU, and everything after it touches a
    quarter of the memory. The convolution has no bias where a norm that shifts follows it directly. Behind a norm that
    ends with an activation of its own there is no ReLU.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm: Norm,
        model: Model,
        pooled: bool,
        convolution: type[nn.Conv2d] = nn.Conv2d,
    ) -> None:
        super().__init__()
        self.norm_after, self.activates = model.norm_position == "after", activates(norm)
        self.conv = convolution(inputs, outputs, 3, padding=1, bias=self.norm_after or not norm.shifts)
        self.pool = nn.MaxPool2d(2) if pooled else nn.Identity()
        self.norm = norm.build(outputs)
        self.dropout = ElementDropout(model.dropout or 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, outputs, H, W)``, or half the height and width where pooled."""
        x = self.pool(self.conv(x))
        x = self.norm(F.relu(x)) if self.norm_after else relu(self.norm(x), self.activates)
        y: Tensor = self.dropout(x)
        return y


def relu(x: Tensor, activated: bool) -> Tensor:
    """max(0, x), where the norm before it has not ``activated`` in its own way."""
    return x if activated else F.relu(x)


class HeConv2d(nn.Conv2d):
    """A convolution whose weights start with the variance 2/fan_in that keeps ReLU networks from fading.

    Weights are normal, the bias 0. torch's default has a sixth of this variance. Source: He et al. 2015 (arXiv
    1502.01852).
    """

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            with torch.no_grad():
                self.bias.zero_()
