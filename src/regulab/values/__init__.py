"""What the study file is made of (`part`, `named`), how it is described, and what is wrong with it and where."""

from regulab.values.complaints import Refusal
from regulab.values.part import (
    LARGEST_INTEGER,
    MOST_SEEDS,
    Count,
    DropoutRate,
    Epochs,
    Finite,
    Fraction,
    NameOrMapping,
    NameWithFields,
    NonNegative,
    Part,
    Place,
    Positive,
    Seed,
    Text,
)

__all__ = [
    "LARGEST_INTEGER",
    "MOST_SEEDS",
    "Count",
    "DropoutRate",
    "Epochs",
    "Finite",
    "Fraction",
    "NameOrMapping",
    "NameWithFields",
    "NonNegative",
    "Part",
    "Place",
    "Positive",
    "Refusal",
    "Seed",
    "Text",
]
