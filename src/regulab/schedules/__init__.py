"""The schedules, one a file: a schedule's values, its rate as a function of the step, and torch's own beside it.

Nothing here imports torch when it is read, so that a study file is checked without it.
"""

from regulab.registry import catalogue
from regulab.schedules.schedule import Schedule

SCHEDULES: dict[str, type[Schedule]] = catalogue("regulab.schedules", Schedule)
