"""Random erasing as a technique of its own."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from regulab.data.augmentation.operations.erase import ErasingFields
from regulab.techniques.adding import AddedOperation
from regulab.techniques.search_range import SearchRange


class RandomErasingTechnique(ErasingFields, AddedOperation):
    """Random erasing: in a share p of the images a rectangle of random area s·HW and shape is filled.

    s is uniform in ``scale``, width/height log-uniform in ``ratio``; the first of ten tries that fits is placed
    uniformly. In addition to the other augmentation of the study or arm, and in the place of ``data.augment.erase``.
    All arms of a seed share the draws, so that the images erased at p = 0.2 are among those at 0.5. Inference: images
    as they are. Parameters: ``probability`` p, 0 < p ≤ 1, by default 0.5; ``scale``, by default 0.02 to 0.33;
    ``ratio``, by default 0.3 to 3.3; ``value``, what fills it, by default the mean of the training images.

    Source: Zhong et al. 2020 (arXiv 1708.04896), which fills with random levels: `value: random`.
    """

    name: ClassVar[str] = "random_erasing"
    scalar: ClassVar[str] = "probability"
    search: ClassVar[SearchRange | None] = SearchRange(0.1, 0.9, "linear")
    operation: ClassVar[str] = "erase"

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(probability=0.7), cls(probability=1.0, value="random")

    def legend(self) -> str:
        return f"random {super().legend()}"

    def said(self) -> Any:
        return self.model_dump()
