"""Weight standardization: convolutions use their weights with mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field
from torch import nn

from regulab.errors import UserError
from regulab.models.layers.reweighted import Standardize, reweigh, reweighable
from regulab.techniques.technique import Edit, Hooks


class WeightStandardization(Edit):
    """Weight standardization: every convolution uses its weights with mean 0 and variance 1 for each output channel.

    Ŵ = (W − μ)/√(σ² + ε), μ and σ² over the weights of one output channel (its fan-in), in training and in inference
    alike; gradients go through μ and σ. What is learned, penalized and saved is W itself; its length changes nothing
    but the size of steps. Ŵ makes outputs √fan_in times as large as inputs, so that a norm belongs behind each of these
    layers: the paper has group or batch norm there. Layers keep names and initial weights.

    Parameters: ``layers``: ``convolutions``, or ``all``, linear layers too but for the last, which gives the class
    scores; not transposed convolutions, nor layers with a forward pass of their own or within torch's attention.
    ``eps`` ε > 0, by default 1e-5. Arms with other values train in fleets of their own.

    Source: Qiao et al. 2019 (arXiv 1903.10520).
    """

    name: ClassVar[str] = "weight_standardization"
    scalar: ClassVar[str] = "layers"
    excludes: ClassVar[Mapping[str, str]] = {
        "spectral_norm": "each divides the weights by a number of its own, which undoes the other's"
    }
    looks_for: ClassVar[str] = (
        "a convolution (nn.Conv2d), or with `layers: all` a linear layer before the last"
    )
    layers: Literal["convolutions", "all"] = Field(
        default="convolutions", description="Convolutions alone, or linear layers but for the last too."
    )
    eps: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=1e-5, description="ε, which is added to the variance of the weights."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(), cls(layers="all", eps=1e-3)

    def legend(self) -> str:
        return "weight standardization" + (" of all layers" if self.layers == "all" else "")

    def edit(self, module: nn.Module) -> nn.Module | None:
        found = reweighable(module, linear=self.layers == "all")
        linear = [layer for layer in found if isinstance(layer, nn.Linear)]
        chosen = [layer for layer in found if layer not in linear[-1:]]
        for layer in chosen:
            weight = layer.get_parameter("weight")
            if weight[0].numel() < 2:
                raise UserError(
                    "a layer with one weight for each output has nothing to standardize",
                    got=f"weights {tuple(weight.shape)} of {type(layer).__name__}",
                    expected="a network whose convolutions have two inputs or more each",
                    where=self.name,
                )
            reweigh(layer, Standardize(self.eps))
        return module if chosen else None

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks()  # it changes the model, not the training
