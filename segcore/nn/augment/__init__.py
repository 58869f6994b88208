"""Augmentation of training samples: every random choice from a generator that is handed in."""
