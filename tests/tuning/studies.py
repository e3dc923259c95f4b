"""Studies to tune, small and of real digits."""

from __future__ import annotations

from typing import Any

from regulab.config import Study, build_study

ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "l1": {"l1": 1e-4},
    "both": {"l1": 1e-4, "l2": {"strength": 1e-4, "include": "all"}},
}
RANGES = {"lr": "0.03..1", "l1": "1e-6..1e-3", "l2": "1e-5..1e-2"}


def to_tune(tune: dict[str, Any] | None = None, **more: Any) -> Study:
    tune = {"trials": 4, "ranges": RANGES} if tune is None else tune
    content = {
        "name": "tuned",
        "arms": ARMS,
        "seeds": 2,
        "train": {"epochs": 1, "precision": "fp32"},
        "tune": tune,
    }
    return build_study({**content, **more})
