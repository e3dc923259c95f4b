"""regulab trains one image classifier under different regularizers, side by side, and tells which one helps.

From Python::

    study = regulab.load_study("l1-l2", "train.epochs=10", "seeds=3")
    outcome = regulab.run(study, Path("runs/mine"), data_root=regulab.data_root())
    comparison = regulab.compare(regulab.read_records(outcome.directory))
"""

TYPE_CHECKING = (
    False  # `typing` and `importlib` take longer to import than all else that the program does first
)
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Study": "regulab.config",
    "build_study": "regulab.config",
    "load_study": "regulab.config",
    "data_root": "regulab.data",
    "run": "regulab.study",
    "read_records": "regulab.run_directory.writing",
    "compare": "regulab.statistics",
    "write_report": "regulab.reporting",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> "Any":
    """The public names, imported when first asked for: ``import regulab`` alone loads neither torch nor matplotlib."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'regulab' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
