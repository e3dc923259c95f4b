"""Lessons about batch normalization."""
