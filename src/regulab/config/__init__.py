"""The study file: YAML in, frozen and validated configuration, resolved YAML out.

`documents` reads YAML, `loading` finds the file and applies the command line to it, `schema` and `training` say what a
study is, `effects` finds what is written without effect, and `regulab.values` says what is wrong, and where.
"""

from regulab.config.documents import parse_yaml
from regulab.config.images import Data, Protocol
from regulab.config.loading import (
    build_study,
    builtin_studies,
    load_mapping,
    load_study,
    override,
    parse_study,
)
from regulab.config.network import Model
from regulab.config.schema import ASSIGNMENT_ARMS, NAMED_BY, Endpoint, Study
from regulab.config.training import Train
from regulab.values import (
    MOST_SEEDS,
    Count,
    DropoutRate,
    Epochs,
    Fraction,
    NameWithFields,
    NonNegative,
    Part,
    Positive,
    Seed,
    Text,
)
from regulab.values.complaints import Refusal, validate
from regulab.values.sources import Source

__all__ = [
    "ASSIGNMENT_ARMS",
    "MOST_SEEDS",
    "NAMED_BY",
    "Count",
    "Data",
    "DropoutRate",
    "Endpoint",
    "Epochs",
    "Fraction",
    "Model",
    "NameWithFields",
    "NonNegative",
    "Part",
    "Positive",
    "Protocol",
    "Refusal",
    "Seed",
    "Source",
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
