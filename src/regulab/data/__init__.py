"""Datasets, splits, preprocessing and augmentation: whole datasets in memory as uint8, no loader processes.

Importing this package does not import torch; `preprocessing` and `augmentation` do.
"""

from regulab.data.dataset import Dataset, DatasetContent, Images
from regulab.data.loading import datasets, find_dataset, known_formats, load
from regulab.data.roots import data_root
from regulab.data.splits import Splits, split

__all__ = [
    "Dataset",
    "DatasetContent",
    "Images",
    "Splits",
    "data_root",
    "datasets",
    "find_dataset",
    "known_formats",
    "load",
    "split",
]
