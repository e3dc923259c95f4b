"""Pure functions of (seed, arm) arrays, and the comparison that they add up to."""

from regulab.statistics.comparison import METRICS, ArmComparison, Comparison, compare

__all__ = ["METRICS", "ArmComparison", "Comparison", "compare"]
