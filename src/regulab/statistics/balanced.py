"""Balanced accuracy: every class counts alike, however many images it has."""

from __future__ import annotations

import numpy as np

from regulab.records import Predictions


def balanced_accuracy(predictions: Predictions) -> float:
    """Percent: the mean over classes of the share of the class's test images that were given their class.

    Over the classes that have test images. With as many images of each class it is the accuracy; a network
    that only ever says one of K classes gets 100/K. Source: Brodersen et al. 2010 (ICPR).
    """
    labels = predictions.labels
    _, classes = np.unique(labels, return_inverse=True)
    images = np.bincount(classes)
    right = np.bincount(classes[labels == predictions.predicted], minlength=len(images))
    return float(100 * (right / images).mean())
