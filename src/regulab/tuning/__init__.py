"""Tuning: every arm's point chosen on validation, before the study, by the same number of trials for each."""
