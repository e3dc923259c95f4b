"""Pure functions of (seed, arm) arrays, and the comparison that they add up to."""

from regulab.statistics.arms import ArmComparison
from regulab.statistics.comparison import Comparison, compare
from regulab.statistics.values import METRICS

__all__ = ["METRICS", "ArmComparison", "Comparison", "compare"]
