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
    from regulab.techniques.augmentation import Augmentation as Augmentation
    from regulab.techniques.drop_block import DropBlockTechnique as DropBlockTechnique
    from regulab.techniques.dropout import Dropout as Dropout
    from regulab.techniques.early_stopping import EarlyStopping as EarlyStopping
    from regulab.techniques.ema import EMA as EMA
    from regulab.techniques.gradient_clipping import GradientClipping as GradientClipping
    from regulab.techniques.l1 import L1 as L1
    from regulab.techniques.l2 import L2 as L2
    from regulab.techniques.label_smoothing import LabelSmoothing as LabelSmoothing
    from regulab.techniques.norm import Normalization as Normalization
    from regulab.techniques.sam import SAM as SAM
    from regulab.techniques.weight_decay import WeightDecay as WeightDecay

__version__ = "0.1.0"

_MODULES = {  # where each name is found when it is first asked for; the imports above say the same to type checkers
    "Augmentation": "regulab.techniques.augmentation",
    "ComparisonTable": "regulab.results",
    "Curves": "regulab.results",
    "data_root": "regulab.data.roots",
    "DropBlockTechnique": "regulab.techniques.drop_block",
    "Dropout": "regulab.techniques.dropout",
    "EarlyStopping": "regulab.techniques.early_stopping",
    "EMA": "regulab.techniques.ema",
    "GradientClipping": "regulab.techniques.gradient_clipping",
    "L1": "regulab.techniques.l1",
    "L2": "regulab.techniques.l2",
    "LabelSmoothing": "regulab.techniques.label_smoothing",
    "load": "regulab.results",
    "load_study": "regulab.api.study",
    "Normalization": "regulab.techniques.norm",
    "Observations": "regulab.results",
    "Progress": "regulab.progress",
    "Results": "regulab.results",
    "run": "regulab.api.run",
    "SAM": "regulab.techniques.sam",
    "Study": "regulab.api.study",
    "UserError": "regulab.errors",
    "WeightDecay": "regulab.techniques.weight_decay",
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
