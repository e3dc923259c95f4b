"""CutMix: a box of every image is another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from regulab.techniques.mixing import PARTNER, SHARE, Alpha, Mixing, SharesOfBeta, alphas, mixed, partners
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, PerRun, Tensors

BOX = "box"  # a stream: the centre of the box, and whether there is one


def boxes(shares: Tensor, centres: Tensor, height: int, width: int) -> Tensor:
    """``(R, H, W)``: the pixels of a box of area (1 − λ)·HW about a centre, cut off at the edges.

    λ ``(R,)`` and centres ``(R, 2)`` in [0, 1), down and across; sides are 2·⌊√(1 − λ)·H/2⌋ and 2·⌊√(1 − λ)·W/2⌋.
    """
    inside = []
    for axis, size in enumerate((height, width)):
        half = ((1 - shares).sqrt() * (size / 2)).floor()
        centre = (centres[:, axis].double() * size).floor()
        places = torch.arange(size, device=shares.device)
        inside.append((places >= (centre - half)[:, None]) & (places < (centre + half)[:, None]))
    rows, columns = inside
    return rows[:, :, None] & columns[:, None]


class CutMix(Mixing):
    """CutMix: a box of area (1 − λ)·HW of every image is that of another, and of its target (1 − λ) is the other's.

    x̃ = (1 − M)·x + M·x′ and ỹ = λ·y + (1 − λ)·y′, with λ ~ Beta(α, α). The others are the batch in another order;
    order, λ and box M are drawn once for a step, as in the paper's code. The box's centre is uniform, and what lies
    outside is cut off; then λ is set to the share of pixels that are left. Inference: images as they are. The recorded
    losses and accuracies of an epoch are of the mixed images, held against the label y of the first; those of the final
    weights are of images as they are. Arms of a seed share order, λ's quantile and centre.

    Parameters: ``alpha`` α, 0 < α ≤ 100, by default 1 as in the paper; ``probability`` of a step to be mixed,
    0 < p ≤ 1, by default 1 (the paper: 0.5 on CIFAR). Needs two classes, and batches of two images at least.

    Source: Yun et al. 2019 (arXiv 1905.04899).
    """

    name: ClassVar[str] = "cutmix"
    scalar: ClassVar[str] = "alpha"
    search: ClassVar[SearchRange | None] = SearchRange(0.05, 2)
    excludes: ClassVar[Mapping[str, str]] = {
        "mixup": "each would mix what the other has mixed already, four images in all; take one in each arm"
    }
    alpha: Alpha = Field(default=1.0, description="α of the distribution Beta(α, α) that λ is drawn from.")
    probability: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=1.0, description="The share of the steps whose images are mixed."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(alpha=1.0), cls(alpha=0.5, probability=0.9)

    def legend(self) -> str:
        often = "" if self.probability == 1 else f" in {100 * self.probability:g} % of steps"
        return f"CutMix α={self.alpha:g}{often}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        quantile = SharesOfBeta(alphas(values))
        probabilities = PerRun([0.0 if value is None else value.probability for value in values])

        def batch(x: Tensor, targets: Tensor, drawn: Tensors) -> tuple[Tensor, Tensor]:
            box, order = drawn[BOX][:, 0], drawn[PARTNER][..., 0]
            shares = quantile(drawn[SHARE][:, 0, 0])
            shares = torch.where(box[:, 2] < probabilities(box), shares, 1.0)
            inside = boxes(shares, box[:, :2], *x.shape[-2:])
            left = 1 - inside.double().mean((1, 2))
            changed = torch.where(inside[:, None], partners(x, order), x)
            return changed, mixed(targets, partners(targets, order), left)

        return Hooks(batch=batch, draws={PARTNER: 1, SHARE: 1, BOX: 3})
