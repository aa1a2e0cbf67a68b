"""Checkpoints on disk: their format, how it is read, and how it is verified."""
