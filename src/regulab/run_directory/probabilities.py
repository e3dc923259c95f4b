"""Class probabilities as a file has them: they must be probabilities, and agree with what stands beside them."""

from __future__ import annotations

import numpy as np

from regulab.records import Predictions

# float16 has 11 significant bits: a number is off by 2⁻¹¹ of itself at most, and under 2⁻¹⁴ by 2⁻²⁵. So a row of K adds
# up to 1 within 2⁻¹¹ + K·2⁻²⁵. Both doubled, for what float32 rounded before.
RELATIVE, ABSOLUTE = 2.0**-10, 2.0**-24


def check_probabilities(predictions: Predictions) -> None:
    """Raises `ValueError` where class probabilities are none, or contradict predictions, confidences, likelihoods."""
    labels, predicted = predictions.labels, predictions.predicted
    likelihood, probabilities = predictions.log_likelihood, predictions.probabilities
    if likelihood is not None:
        if not (np.isfinite(likelihood) & (likelihood <= 1e-3)).all():
            raise ValueError("log-likelihoods that are no logarithms of probabilities")
        if _off(np.exp(likelihood)[labels == predicted], predictions.confidence[labels == predicted]):
            raise ValueError(
                "log-likelihoods of images that are right, which are not those of the confidences"
            )
        if (np.exp(likelihood) > predictions.confidence * (1 + RELATIVE) + ABSOLUTE).any():
            raise ValueError("log-likelihoods above the confidence in the predicted class")
    if probabilities is None:
        return
    if likelihood is None:
        raise ValueError("probabilities without log_likelihood")
    classes = probabilities.shape[1]
    if max(labels.max(), predicted.max()) >= classes:
        raise ValueError(
            f"probabilities of {classes} classes, and images of class {max(labels.max(), predicted.max())}"
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():  # NaN is neither
        raise ValueError("probabilities outside 0 … 1")
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if (np.abs(sums - 1) > RELATIVE + classes * ABSOLUTE).any():
        raise ValueError(f"probabilities that add up to {sums[np.abs(sums - 1).argmax()]:.6g}, not to 1")
    rows = np.arange(len(labels))
    if _off(probabilities[rows, predicted], predictions.confidence):
        raise ValueError("probabilities of the predicted classes that are not the confidences")
    if _off(probabilities[rows, labels], np.exp(likelihood)):
        raise ValueError("probabilities of the labels that are not the log-likelihoods")
    if (probabilities.max(axis=1) > probabilities[rows, predicted] * (1 + RELATIVE) + ABSOLUTE).any():
        raise ValueError("a class more probable than the predicted one")


def _off(rounded: np.ndarray, exact: np.ndarray) -> bool:
    """Whether some number is not that of float16."""
    exact = exact.astype(np.float64)
    return bool((np.abs(rounded.astype(np.float64) - exact) > exact * RELATIVE + ABSOLUTE).any())
