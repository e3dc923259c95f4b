"""Lessons about training: augmentation, early stopping, dropout, and the loss around trained weights."""
