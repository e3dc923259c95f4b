"""Lessons about the inputs of a network: normalization, equalization, and what they do to the loss."""
