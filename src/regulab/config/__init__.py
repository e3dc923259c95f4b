"""The study file: YAML in, frozen and validated configuration, resolved YAML out.

`documents` reads YAML, `loading` finds the file and lays the command line over it, `schema` and `training` say what a
study is, `effects` what is written to no effect, `complaints` what is wrong with it, and `sources` where.
"""

from regulab.config.complaints import Refusal, validate
from regulab.config.documents import parse_yaml
from regulab.config.loading import (
    build_study,
    builtin_studies,
    load_mapping,
    load_study,
    override,
    parse_study,
)
from regulab.config.parts import (
    MOST_SEEDS,
    Count,
    DropoutRate,
    Epochs,
    Fraction,
    NonNegative,
    Part,
    Positive,
    Seed,
    Text,
)
from regulab.config.schema import ASSIGNMENT_ARMS, NAMED_BY, Data, Endpoint, Model, Protocol, Study
from regulab.config.sources import Source
from regulab.config.training import SGD, Adam, Constant, Cosine, OneCycle, Step, Train

__all__ = [
    "ASSIGNMENT_ARMS",
    "MOST_SEEDS",
    "NAMED_BY",
    "SGD",
    "Adam",
    "Constant",
    "Cosine",
    "Count",
    "Data",
    "DropoutRate",
    "Endpoint",
    "Epochs",
    "Fraction",
    "Model",
    "NonNegative",
    "OneCycle",
    "Part",
    "Positive",
    "Protocol",
    "Refusal",
    "Seed",
    "Source",
    "Step",
    "Study",
    "Text",
    "Train",
    "build_study",
    "builtin_studies",
    "load_mapping",
    "load_study",
    "override",
    "parse_study",
    "parse_yaml",
    "validate",
]
