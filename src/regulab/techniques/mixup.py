"""Mixup: training between the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor

from regulab.techniques.mixing import PARTNER, SHARE, Alpha, Mixing, SharesOfBeta, alphas, mixed, partners
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, Tensors


class Mixup(Mixing):
    """Mixup: trains on λ·x + (1 − λ)·x′ with the targets λ·y + (1 − λ)·y′, where λ ~ Beta(α, α).

    x′, y′ are the batch in another order, drawn for every step, and λ is drawn once for a step, as in the paper's code.
    Images are mixed as the network gets them, after augmentation and normalization. Inference: images as they are. The
    recorded losses and accuracies of an epoch are of the mixed images, held against the label y of the first; those of
    the final weights are of images as they are. Arms of a seed share order and λ's quantile, also with ``cutmix``.

    Parameter: ``alpha`` α, 0 < α ≤ 100, by default 0.2: with a large α small networks underfit, as the paper tells; it
    takes 1 on CIFAR-10 and 0.1 to 0.4 on ImageNet. Needs two classes, and batches of two images at least.

    Source: Zhang et al. 2018 (arXiv 1710.09412).
    """

    name: ClassVar[str] = "mixup"
    scalar: ClassVar[str] = "alpha"
    search: ClassVar[SearchRange | None] = SearchRange(0.02, 2)
    excludes: ClassVar[Mapping[str, str]] = {
        "cutmix": "each would mix what the other has mixed already, four images in all; take one in each arm"
    }
    alpha: Alpha = Field(default=0.2, description="α of the distribution Beta(α, α) that λ is drawn from.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(alpha=1.0), cls(alpha=0.4)

    def legend(self) -> str:
        return f"mixup α={self.alpha:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        quantile = SharesOfBeta(alphas(values))

        def batch(x: Tensor, targets: Tensor, drawn: Tensors) -> tuple[Tensor, Tensor]:
            shares, order = quantile(drawn[SHARE][:, 0, 0]), drawn[PARTNER][..., 0]
            return mixed(x, partners(x, order), shares), mixed(targets, partners(targets, order), shares)

        return Hooks(batch=batch, draws={PARTNER: 1, SHARE: 1})
