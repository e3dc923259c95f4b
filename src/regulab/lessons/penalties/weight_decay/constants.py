"""λ."""

from __future__ import annotations

STRENGTH = 0.01  # λ wherever one is enough
