"""Figures, galleries, observations and pages, from a study's records alone."""

from regulab.reporting.report import write_report

__all__ = ["write_report"]
