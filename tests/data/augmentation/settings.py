"""Settings as a study file says them."""

from __future__ import annotations

from typing import Any

from regulab.config import validate
from regulab.data.augmentation import AugmentSettings


def settings_of(**said: Any) -> AugmentSettings:
    """Checked as the study file's are."""
    return validate(AugmentSettings, said, "data.augment")
