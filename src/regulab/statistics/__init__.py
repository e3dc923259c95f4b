"""Pure functions of (seed, arm) arrays, and the comparison that they add up to."""

from regulab.statistics.arms import ArmComparison
from regulab.statistics.comparison import METRICS, Comparison, compare

__all__ = ["METRICS", "ArmComparison", "Comparison", "compare"]
