"""What a study came to, for people in Python: tables, figures, frames and text, from the run directory alone.

Needs neither torch nor the dataset. `Results` is the way in; every number is the report's.
"""

from regulab.results.comparison_table import ComparisonTable
from regulab.results.figures import Curves
from regulab.results.observations import Observations
from regulab.results.results import Results, load

__all__ = ["ComparisonTable", "Curves", "Observations", "Results", "load"]
