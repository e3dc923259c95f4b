"""The report of a path: which strength validation chooses, in a sentence, a picture and a table."""

from regulab.reporting.path.page import write_path_report

__all__ = ["write_path_report"]
