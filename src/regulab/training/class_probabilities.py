"""The class probabilities of R runs on the test split, gathered batch by batch while it is evaluated."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regulab.records import MOST_PROBABILITIES


class KeptProbabilities(TypedDict):
    """Two of the arrays of `regulab.records.Predictions`."""

    log_likelihood: NDArray[np.float32]
    probabilities: NDArray[np.float16] | None


class ClassProbabilities:
    """For N images, R runs and K classes the log-likelihoods ``(N, R)`` float32, and the probabilities ``(R, N, K)``
    float16 where a run has no more than `MOST_PROBABILITIES` of them.

    They lie on the device until all batches are done: a copy to the host would wait for each batch.
    """

    def __init__(self, images: int, runs: int, classes: int, device: torch.device) -> None:
        self.log_likelihood = torch.empty(images, runs, dtype=torch.float32, device=device)
        self.probabilities: Tensor | None = None
        if images * classes <= MOST_PROBABILITIES:
            self.probabilities = torch.empty(runs, images, classes, dtype=torch.float16, device=device)

    def fill(self, start: int, log_probability: Tensor, log_likelihood: Tensor) -> None:
        """A batch that begins at image ``start``: log-softmax ``(B, R, K)``, and that of the labels ``(B, R)``."""
        stop = start + len(log_probability)
        self.log_likelihood[start:stop] = log_likelihood
        if self.probabilities is not None:
            self.probabilities[:, start:stop] = log_probability.exp().transpose(0, 1)

    def of_run(self, row: int) -> KeptProbabilities:
        probabilities: Any = None if self.probabilities is None else self.probabilities[row].cpu().numpy()
        return KeptProbabilities(
            log_likelihood=self.log_likelihood[:, row].cpu().numpy(), probabilities=probabilities
        )
