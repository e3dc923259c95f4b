"""The schedules, one a file: a schedule's values, its rate as a function of the step, and torch's own beside it.

Importing these modules does not import torch, so a study file can be checked without it.
"""

from regulab.registry import catalogue
from regulab.schedules.schedule import Schedule

SCHEDULES: dict[str, type[Schedule]] = catalogue("regulab.schedules", Schedule)
