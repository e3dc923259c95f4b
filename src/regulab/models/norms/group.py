"""Group normalization: each image by itself, over groups of channels."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field
from torch import nn

from regulab.errors import UserError
from regulab.models.norm import Norm


class GroupNormalization(Norm):
    """group normalization: each image by itself, over groups of channels; the same at test time

    The C channels are cut into ``groups`` groups of C/groups, one after the other. Over the values xᵢ of a group, all
    its channels and places, of one image::

        μ  = mean of xᵢ          σ² = mean of (xᵢ − μ)²          yᵢ = γ_c (xᵢ − μ)/√(σ² + ε) + β_c

    with one γ and one β for each channel c. It does not take out a bias of the convolution before it, which keeps one.
    There are no running averages: inference is the same as training, and an image never depends on the batch. ε is
    1e-5.

    Parameter: ``groups`` ≥ 1, by default 8; 1 is ``layer``. It has to divide the channels of every layer.

    Source: Wu & He 2018 (arXiv 1803.08494), who have 32 groups for maps of 64 channels and more.
    """

    name: ClassVar[str] = "group"
    shifts: ClassVar[bool] = False  # the mean over a group is taken out, not each channel's
    groups: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=8, description="Into how many groups the channels are cut; it has to divide them."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(), cls(groups=4)

    def build(self, channels: int) -> nn.Module:
        """Raises `UserError` where the groups do not divide the channels."""
        if channels % self.groups:
            divisors = [str(n) for n in range(1, min(channels, 64) + 1) if channels % n == 0]
            raise UserError(
                f"{self.groups} groups do not divide the {channels} channels of a layer",
                got=self.groups,
                expected=f"groups: one of {', '.join(divisors)}",
                where="norm.groups",
            )
        return nn.GroupNorm(self.groups, channels)

    def legend(self) -> str:
        return f"group norm, {self.groups} groups"
