"""AdamW, whose decay is a technique here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from regulab.optimizers.adam import AdaptiveMoments

if TYPE_CHECKING:
    import torch


class AdamW(AdaptiveMoments):
    """AdamW: Adam's step to the bit; what makes it AdamW, decay beside the step, is the technique ``weight_decay``.

    So an arm ``{weight_decay: 0.01}`` is AdamW with a decay of 0.01, and an arm without it does not decay.

    Source: Loshchilov & Hutter 2019 (arXiv 1711.05101).
    """

    name: ClassVar[str] = "adamw"

    def reference(self, parameters: Iterable[torch.nn.Parameter], lr: float) -> torch.optim.Optimizer:
        from torch import optim

        return optim.AdamW(parameters, lr=lr, betas=self.betas, eps=self.eps, weight_decay=0)
