"""Hugging Face families: one file each, found by scanning this package."""
