"""Lessons about L1, L2 and weight decay, and what they leave of a model."""
