"""The study file: YAML in, frozen and validated configuration, resolved YAML out.

`documents` reads YAML, `loading` finds the file and lays the command line over it, `schema` and `training` say what a
study is, `effects` what is written to no effect, `complaints` what is wrong with it, and `sources` where.
"""

from regulab.config.complaints import validate
from regulab.config.documents import parse_yaml
from regulab.config.loading import (
    build_study,
    builtin_studies,
    load_mapping,
    load_study,
    override,
    parse_study,
)
from regulab.config.schema import ASSIGNMENT_ARMS, NAMED_BY, Data, Endpoint, Model, Protocol, Study
from regulab.config.sources import Source
from regulab.config.training import Train
from regulab.values import (
    MOST_SEEDS,
    Count,
    DropoutRate,
    Epochs,
    Fraction,
    Named,
    NonNegative,
    Part,
    Positive,
    Refusal,
    Seed,
    Text,
)

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
    "Named",
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
