"""Checkpoints on disk: format, reading, writing and verification."""
