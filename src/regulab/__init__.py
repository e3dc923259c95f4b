"""regulab trains one image classifier under different regularizers, side by side, and shows which one helps.

From Python::

    import regulab as rl

    results = rl.run("l1-l2", seeds=3)       # a built-in study, a file, or a Study; runs/<name> unless told
    results.compare()                        # the table: prints in a terminal, renders in a notebook
    results.curves()
    results.misclassified("l1", 25)          # matplotlib figures
    results.to_frame("runs")                 # pandas or polars
    rl.load("runs/l1-l2")                    # the same from a run directory, without torch

Mistakes in what a person passes in raise `UserError`.
"""

TYPE_CHECKING = (
    False  # `typing` and `importlib` take longer to import than all else that the program does first
)
if TYPE_CHECKING:
    from typing import Any

    from regulab.api.run import run as run
    from regulab.api.study import Study as Study
    from regulab.api.study import load_study as load_study
    from regulab.data.roots import data_root as data_root
    from regulab.errors import UserError as UserError
    from regulab.progress import Progress as Progress
    from regulab.results import ComparisonTable as ComparisonTable
    from regulab.results import Curves as Curves
    from regulab.results import Observations as Observations
    from regulab.results import Results as Results
    from regulab.results import load as load
    from regulab.techniques.adaptive_gradient_clipping import (
        AdaptiveGradientClipping as AdaptiveGradientClipping,
    )
    from regulab.techniques.asam import ASAM as ASAM
    from regulab.techniques.augmentation import Augmentation as Augmentation
    from regulab.techniques.confidence_penalty import ConfidencePenalty as ConfidencePenalty
    from regulab.techniques.cutmix import CutMix as CutMix
    from regulab.techniques.cutout import CutoutTechnique as CutoutTechnique
    from regulab.techniques.distillation import Distillation as Distillation
    from regulab.techniques.drop_block import DropBlockTechnique as DropBlockTechnique
    from regulab.techniques.drop_connect import DropConnect as DropConnect
    from regulab.techniques.dropout import Dropout as Dropout
    from regulab.techniques.early_stopping import EarlyStopping as EarlyStopping
    from regulab.techniques.elastic_net import ElasticNet as ElasticNet
    from regulab.techniques.ema import EMA as EMA
    from regulab.techniques.flooding import Flooding as Flooding
    from regulab.techniques.gaussian_dropout import GaussianDropoutTechnique as GaussianDropoutTechnique
    from regulab.techniques.gradient_clipping import GradientClipping as GradientClipping
    from regulab.techniques.gradient_noise import GradientNoise as GradientNoise
    from regulab.techniques.gradient_penalty import GradientPenalty as GradientPenalty
    from regulab.techniques.group_lasso import GroupLasso as GroupLasso
    from regulab.techniques.input_noise import InputNoise as InputNoise
    from regulab.techniques.l1 import L1 as L1
    from regulab.techniques.l2 import L2 as L2
    from regulab.techniques.label_smoothing import LabelSmoothing as LabelSmoothing
    from regulab.techniques.learning_rate import LearningRate as LearningRate
    from regulab.techniques.max_norm import MaxNorm as MaxNorm
    from regulab.techniques.mixup import Mixup as Mixup
    from regulab.techniques.norm import Normalization as Normalization
    from regulab.techniques.orthogonality import Orthogonality as Orthogonality
    from regulab.techniques.r_drop import RDrop as RDrop
    from regulab.techniques.rand_augment import RandAugmentTechnique as RandAugmentTechnique
    from regulab.techniques.random_erasing import RandomErasingTechnique as RandomErasingTechnique
    from regulab.techniques.sam import SAM as SAM
    from regulab.techniques.spatial_dropout import SpatialDropout as SpatialDropout
    from regulab.techniques.spectral_norm import SpectralNorm as SpectralNorm
    from regulab.techniques.spectral_penalty import SpectralPenalty as SpectralPenalty
    from regulab.techniques.stochastic_depth import StochasticDepthTechnique as StochasticDepthTechnique
    from regulab.techniques.swa import SWA as SWA
    from regulab.techniques.trivial_augment import TrivialAugmentTechnique as TrivialAugmentTechnique
    from regulab.techniques.weight_decay import WeightDecay as WeightDecay
    from regulab.techniques.weight_standardization import WeightStandardization as WeightStandardization

__version__ = "0.1.0"

_MODULES = {  # where each name is found when it is first asked for; the imports above say the same to type checkers
    "AdaptiveGradientClipping": "regulab.techniques.adaptive_gradient_clipping",
    "ASAM": "regulab.techniques.asam",
    "Augmentation": "regulab.techniques.augmentation",
    "ComparisonTable": "regulab.results",
    "ConfidencePenalty": "regulab.techniques.confidence_penalty",
    "Curves": "regulab.results",
    "CutMix": "regulab.techniques.cutmix",
    "CutoutTechnique": "regulab.techniques.cutout",
    "data_root": "regulab.data.roots",
    "Distillation": "regulab.techniques.distillation",
    "DropBlockTechnique": "regulab.techniques.drop_block",
    "DropConnect": "regulab.techniques.drop_connect",
    "Dropout": "regulab.techniques.dropout",
    "EarlyStopping": "regulab.techniques.early_stopping",
    "ElasticNet": "regulab.techniques.elastic_net",
    "EMA": "regulab.techniques.ema",
    "Flooding": "regulab.techniques.flooding",
    "GaussianDropoutTechnique": "regulab.techniques.gaussian_dropout",
    "GradientClipping": "regulab.techniques.gradient_clipping",
    "GradientNoise": "regulab.techniques.gradient_noise",
    "GradientPenalty": "regulab.techniques.gradient_penalty",
    "GroupLasso": "regulab.techniques.group_lasso",
    "InputNoise": "regulab.techniques.input_noise",
    "L1": "regulab.techniques.l1",
    "L2": "regulab.techniques.l2",
    "LabelSmoothing": "regulab.techniques.label_smoothing",
    "LearningRate": "regulab.techniques.learning_rate",
    "load": "regulab.results",
    "load_study": "regulab.api.study",
    "MaxNorm": "regulab.techniques.max_norm",
    "Mixup": "regulab.techniques.mixup",
    "Normalization": "regulab.techniques.norm",
    "Observations": "regulab.results",
    "Orthogonality": "regulab.techniques.orthogonality",
    "Progress": "regulab.progress",
    "RandAugmentTechnique": "regulab.techniques.rand_augment",
    "RandomErasingTechnique": "regulab.techniques.random_erasing",
    "RDrop": "regulab.techniques.r_drop",
    "Results": "regulab.results",
    "run": "regulab.api.run",
    "SAM": "regulab.techniques.sam",
    "SpatialDropout": "regulab.techniques.spatial_dropout",
    "SpectralNorm": "regulab.techniques.spectral_norm",
    "SpectralPenalty": "regulab.techniques.spectral_penalty",
    "StochasticDepthTechnique": "regulab.techniques.stochastic_depth",
    "Study": "regulab.api.study",
    "SWA": "regulab.techniques.swa",
    "TrivialAugmentTechnique": "regulab.techniques.trivial_augment",
    "UserError": "regulab.errors",
    "WeightDecay": "regulab.techniques.weight_decay",
    "WeightStandardization": "regulab.techniques.weight_standardization",
}
__all__ = [*_MODULES]


def __getattr__(name: str) -> "Any":
    """The public names, imported when first asked for: ``import regulab`` alone loads neither torch nor matplotlib."""
    if name not in _MODULES:
        raise AttributeError(f"module 'regulab' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
