"""The operations of augmentation, one a file, found by name."""
